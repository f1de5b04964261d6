"""What a test gives in place of steps, events, signals and children, and what of it nobody has asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import TypeAdapter

from fastapi_events.engine.jobs.waits import checked_event
from fastapi_events.errors import InvalidInput
from fastapi_events.model.event import Event
from fastapi_events.model.job import Job


class StandIns:
    """Given once, taken as the job asks; ``owner`` is what errors name."""

    def __init__(
        self, owner: str, steps: Mapping[str, Any], events: Sequence[Event], signals: Mapping[str, Sequence[Any]],
        children: Mapping[Job[Any, Any], Any],
    ) -> None:  # fmt: skip
        self._owner, self._steps, self._children = owner, dict(steps), dict(children)
        self._events, self._signals = list(events), {name: list(values) for name, values in signals.items()}
        self._kinds = {type(event) for event in events}
        self._asked: dict[str, set[Any]] = {"steps": set(), "events": set(), "signals": set(), "children": set()}
        _check_jobs(owner, self._children)

    def has_step(self, name: str) -> bool:
        """Whether a result is given for a step; it was asked for."""
        self._asked["steps"].add(name)
        return name in self._steps

    def step(self, name: str) -> Any:
        """The result of a step, or the exception that stands in its place."""
        return _told(self._steps[name])

    def event(self, kind: type[Event], key: str | None) -> Event | None:
        """The first event of the class, and of the key, that is left; None if none is."""
        options = checked_event(kind, key, f"{self._owner}: wait_for()")
        field = options.key or options.aggregate_id
        self._asked["events"] |= {one for one in self._kinds if issubclass(one, kind)}
        for one in self._events:
            if isinstance(one, kind) and (key is None or field is None or str(getattr(one, field)) == str(key)):
                self._events.remove(one)
                return one
        return None

    def signal(self, name: str) -> bytes | None:
        """What the next signal of the name carries, as it would be sent; None if none is left."""
        self._asked["signals"].add(name)
        return TypeAdapter[Any](Any).dump_json(self._signals[name].pop(0)) if self._signals.get(name) else None

    def spawned(self, job: Job[Any, Any]) -> None:
        """A run of the job was spawned."""
        self._asked["children"].add(job)

    def child(self, job: Job[Any, Any], value: Any) -> Any:
        """The result of a child with this input."""
        if job not in self._children:
            raise AssertionError(
                f"{self._owner} waits for a run of {job.name!r}, whose result is not given: "
                "FakeJobContext(..., children={job: result})."
            )
        given: Any = self._children[job]
        result = given(value) if callable(given) and not inspect.isclass(given) else _told(given)
        return job.load_result(job.dump_result(result))

    def unasked(self) -> str | None:
        """What was given and nobody has asked for, with the near miss among what was; None if all was of use."""
        found = [
            *self._strangers("steps", self._steps, repr),
            *self._strangers("events", self._kinds, lambda kind: kind.__qualname__),
            *self._strangers("signals", self._signals, repr),
            *self._strangers("children", self._children, lambda job: job.name),
        ]
        return f"{self._owner} {'; '.join(found)}. Take it out, or write what the job asks for." if found else None

    def _strangers(self, what: str, given: Iterable[Any], shown: Callable[[Any], str]) -> Iterator[str]:
        asked = self._asked[what]
        names = [shown(one) for one in asked]
        for one in given:
            if one not in asked:
                near = get_close_matches(shown(one), [name for name in names if name != shown(one)], n=1)
                there = f"it asks for {', '.join(sorted(names)[:5])}" if names else "it asks for none"
                hint = f"did you mean {near[0]}?" if near else there
                yield f"never asked for {what}= {shown(one)} ({hint})"


def _check_jobs(owner: str, children: Mapping[Any, Any]) -> None:
    for job in children:
        if not isinstance(job, Job):
            raise InvalidInput(
                f"FakeJobContext of {owner}: children= has results by job, not by {ascii(job)[:80]}. Write "
                "children={pick: 7}, with what @module.job() made."
            )


def _told(value: Any) -> Any:
    """A result, or the exception that stands in its place."""
    if isinstance(value, BaseException) or (inspect.isclass(value) and issubclass(value, BaseException)):
        raise value
    return value
