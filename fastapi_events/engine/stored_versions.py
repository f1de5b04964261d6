"""Reading an event in another version than that of its row: one published beside it, or one lifted by upcasters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any

from pydantic_core import to_json

from fastapi_events.engine.failure import failure, failure_of, safe_text
from fastapi_events.model.delivery import DeadReason
from fastapi_events.model.event import Event, EventOptions, options_of
from fastapi_events.model.outcome import Failure
from fastapi_events.model.payload import exact_number
from fastapi_events.model.upcast import Upcaster, Upcasters


class Unreadable(Exception):
    """A stored payload that a handler cannot be given; retrying would not help."""

    def __init__(self, reason: DeadReason, what: Failure) -> None:
        super().__init__(what.message)
        self.reason: DeadReason = reason
        self.failure = what


class StoredVersions:
    """The payloads of one event by version; ``others`` is the JSON object of those published beside the first."""

    def __init__(self, name: str, version: int, payload: str, others: str | None) -> None:
        self._name, self._version, self._payload, self._others = name, version, payload, others

    @property
    def oldest(self) -> int:
        """The oldest of them: a class of this version or any newer one can read the event."""
        return min(self._beside, default=self._version)

    def text_for(self, wanted: EventOptions, upcasters: Upcasters) -> str:
        """The payload as JSON text in the wanted version: exactly that one, else lifted from the newest below it.

        Raises ``Unreadable``.
        """
        start = self._newest_below(wanted.version)
        steps = upcasters.chain(self._name, start, wanted)
        if steps is None:
            message = f"stored as version {self._version}; " + _no_way(self._name, start, wanted)
            raise Unreadable("invalid_payload", failure("VersionMismatch", message))
        return _lifted(self._loaded(start), steps)

    def nearest(self, classes: Iterable[type[Event]], upcasters: Upcasters) -> type[Event] | None:
        """The first of the classes that the event can be read as."""
        for event_class in classes:
            options = options_of(event_class)
            if options is None or options.version < self.oldest:
                continue
            start = self._newest_below(options.version)
            if start == options.version or upcasters.chain(self._name, start, options) is not None:
                return event_class
        return None

    @cached_property
    def _beside(self) -> dict[int, Any]:
        if self._others is None:
            return {}
        try:
            found = json.loads(self._others, parse_float=exact_number)
            beside = {int(version): payload for version, payload in found.items()}
        except (ValueError, AttributeError, RecursionError):
            return {}  # a row that somebody else wrote badly: its own version is all there is
        return beside | {self._version: None}

    def _newest_below(self, version: int) -> int:
        """The newest version at or below this one; else the row's own."""
        return max((known for known in self._beside if known <= version), default=self._version)

    def _loaded(self, version: int) -> Any:
        if version != self._version:
            return self._beside[version]
        try:
            return json.loads(self._payload, parse_float=exact_number)
        except (ValueError, RecursionError) as error:
            raise Unreadable("undecodable", failure(type(error).__name__, str(error))) from error


def _no_way(name: str, start: int, wanted: EventOptions) -> str:
    if start > wanted.version:
        return f"this process reads version {wanted.version} and older"
    if start < wanted.oldest_version:
        return f"version {wanted.version} of {name} says that nothing older than {wanted.oldest_version} is left"
    return f"no upcasters lead from version {start} to {wanted.version}"


def _lifted(payload: Any, steps: Iterable[Upcaster]) -> str:
    """The payload after all steps; what a step does wrong is told with its name."""
    step: Upcaster | None = None
    for step in steps:
        if not _is_object(payload):
            raise _wrong(f"{step} takes a JSON object, and the stored payload is a {type(payload).__name__}")
        try:
            payload = step.function(payload)
        except Exception as error:
            what = failure_of(error)
            message = safe_text(f"{step} raised {what.error_type}: {what.message}", 8_000)
            raise Unreadable("invalid_payload", replace(what, error_type="UpcastFailed", message=message)) from error
        if not _is_object(payload):
            raise _wrong(f"{step} returned a {type(payload).__name__} in place of a dict")
    try:
        return to_json(payload).decode()
    except Exception as error:
        raise _wrong(f"{step} returned what cannot be written as JSON: {failure_of(error).message}") from error


def _is_object(payload: object) -> bool:
    return isinstance(payload, dict)


def _wrong(message: str) -> Unreadable:
    return Unreadable("invalid_payload", failure("UpcastFailed", message))
