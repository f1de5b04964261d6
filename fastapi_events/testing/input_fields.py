"""The fields of a job's input, by which tests compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from fastapi_events.errors import UnknownOption
from fastapi_events.model.job import Job
from fastapi_events.model.names import one_slip_apart


def fields_of(kind: Any) -> tuple[str, ...]:
    """The fields of a type of inputs: a model's, a dataclass's or a ``TypedDict``'s; anything else has none."""
    if _is_model(kind):
        return tuple(kind.model_fields)
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return tuple(kind.__annotations__) if hasattr(kind, "__required_keys__") else ()


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def value_of(found: Any, name: str) -> Any:
    """A field of an input."""
    return cast("Mapping[str, Any]", found).get(name) if isinstance(found, Mapping) else getattr(found, name, None)


def check_fields(job: Job[Any, Any], names: Iterable[str]) -> None:
    """Raise ``UnknownOption`` for a name that is no field of the job's input."""
    kind, known = job.input_type, fields_of(job.input_type)
    for name in names:
        if name in known or (known and hasattr(kind, name)):
            continue
        shown = getattr(kind, "__qualname__", None) or repr(kind)
        if not known:
            raise UnknownOption(
                f"{name}=: the input of job {job.name!r} is {shown}, which has no fields to compare. Give the input "
                "itself, or where=."
            )
        near = next((one for one in sorted(known) if one_slip_apart(name, one)), None)
        hint = f"Did you mean {near!r}?" if near else f"It has {', '.join(sorted(known))}."
        raise UnknownOption(f"{shown}, the input of job {job.name!r}, has no field {name!r} to compare. {hint}")
