"""Another input for a run, as somebody writes it who does not see all of the one that it has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastapi_events.api.observe.job_views import RunDetail
from fastapi_events.api.redaction import Redactor
from fastapi_events.errors import InvalidInput
from fastapi_events.model.job import Job
from fastapi_events.model.secrets import HIDDEN, place_in


def edited_input(run: RunDetail, text: str, job: Job[Any, Any] | None, redactor: Redactor) -> Any:
    """The value of a JSON text in which secrets stand as they are shown, with those that the run has in their places.

    Raises ``InvalidInput`` for what is no JSON, and for a hidden value where the run has none.
    """
    try:
        given = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"The input is no JSON: {error}.") from error
    except RecursionError as error:
        raise InvalidInput("The input is nested too deep.") from error
    shown = redactor.content(run.input, place_in(job.input_type) if job is not None else ()).value
    return _restored(given, shown, json.loads(run.input), "input")


def _restored(given: Any, shown: Any, stored: Any, path: str) -> Any:
    if given == HIDDEN:
        if shown != HIDDEN:
            raise InvalidInput(f"{path}: {HIDDEN} stands for a value that the run has, and it has none there.")
        return stored
    if isinstance(given, dict):
        fields = cast("dict[str, Any]", given)
        return {
            name: _restored(inner, _field(shown, name), _field(stored, name), f"{path}.{name}")
            for name, inner in fields.items()
        }
    if isinstance(given, list):
        return [
            _restored(inner, _item(shown, place), _item(stored, place), f"{path}[{place}]")
            for place, inner in enumerate(cast("Sequence[Any]", given))
        ]
    return given


def _field(value: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None


def _item(value: Any, place: int) -> Any:
    items = cast("Sequence[Any]", value) if isinstance(value, list) else ()
    return items[place] if place < len(items) else None
