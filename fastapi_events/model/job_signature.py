"""The signature of a job: its context, which says what the input is, and what it returns."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from fastapi_events.errors import InvalidJob
from fastapi_events.model.job_context import JobContext
from fastapi_events.model.job_types import ReadTypes, called_by, is_class

_FIRST = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def read_types(function: Any, owner: str) -> ReadTypes:
    """The types of a job's function or class; raises ``InvalidJob``, or ``NameError`` for an unknown name."""
    target = called_by(function)
    hints = _hints(target, owner)
    input_type = _input_type(target, hints, owner, method=target is not function)
    output_type = _output_type(target, hints)
    return ReadTypes(
        input_type,
        output_type,
        _adapter(input_type, f"{owner}: its input", "JobContext[Restock]"),
        _adapter(output_type, f"{owner}: its result", "-> RestockResult"),
    )


def _input_type(target: Any, hints: dict[str, Any], owner: str, *, method: bool) -> Any:
    parameters = list(inspect.signature(target).parameters.values())[1 if method else 0 :]
    if not parameters or parameters[0].kind not in _FIRST:
        raise InvalidJob(
            f"{owner}: a job's first parameter is its context. Write {_example(target, method)}; without input, "
            "JobContext[None]."
        )
    name = parameters[0].name
    annotation = _plain(hints.get(name, inspect.Parameter.empty))
    if get_origin(annotation) is JobContext and not isinstance(inner := get_args(annotation)[0], TypeVar):
        return inner
    if annotation is JobContext or get_origin(annotation) is JobContext:
        raise InvalidJob(
            f"{owner}: its first parameter, {name!r}, does not say what the input is. Write {name}: "
            "JobContext[Restock]; without input, JobContext[None]."
        )
    if annotation is inspect.Parameter.empty:
        raise InvalidJob(
            f"{owner}: its first parameter, {name!r}, has no annotation, which says what the input is. Write "
            f"{_example(target, method)}; without input, JobContext[None]."
        )
    shown = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
    raise InvalidJob(
        f"{owner}: its first parameter, {name!r}, is annotated {shown}, but is given the context, which has the input. "
        f"Write {_example(target, method)}."
    )


def returned(function: Callable[..., Any], owner: str) -> tuple[Any, TypeAdapter[Any]]:
    """What a function says that it returns, awaited, and what makes JSON of it; ``Any`` if it says nothing.

    A class returns objects of itself.
    Raises ``InvalidJob``, or ``NameError`` for a name that is not defined (yet).
    """
    kind: Any = function if is_class(function) else _output_type(function, _hints(function, owner))
    return kind, _adapter(kind, f"{owner}: its result", "-> RestockResult")


def _output_type(target: Any, hints: dict[str, Any]) -> Any:
    found = hints.get("return", Any)
    if get_origin(found) in (Awaitable, Coroutine) and not inspect.iscoroutinefunction(target):
        return get_args(found)[-1]
    return found


def _example(target: Any, method: bool) -> str:
    name = getattr(target, "__name__", "restock")
    return f"async def {name}({'self, ' if method else ''}job: JobContext[Restock], ...)"


def _hints(target: Any, owner: str) -> dict[str, Any]:
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return get_type_hints(target, include_extras=True)
    except NameError:
        raise
    except Exception as error:
        raise InvalidJob(
            f"{owner}: its annotations cannot be read ({type(error).__name__}: {_first_line(error)}). Mend them: they "
            "say what it takes and gives."
        ) from error


def _adapter(kind: Any, what: str, example: str) -> TypeAdapter[Any]:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        if not adapter.pydantic_complete:  # a model that names a class which is not there yet
            adapter.rebuild(raise_errors=True)
    except PydanticSchemaGenerationError as error:
        raise InvalidJob(
            f"{what} ({_shown(kind)}) cannot be stored as JSON ({_first_line(error)}). Write a Pydantic model, a "
            f"dataclass, or plain values of Python's, e.g. {example}."
        ) from error
    except PydanticUserError as error:
        if error.code in ("class-not-fully-defined", "undefined-annotation"):
            raise NameError(_first_line(error)) from error
        raise InvalidJob(f"{what} ({_shown(kind)}) is no type of values ({_first_line(error)}).") from error
    return adapter


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _shown(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n", 1)[0][:300]
