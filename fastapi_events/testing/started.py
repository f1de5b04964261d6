"""Which runs of jobs have been started: by a session that is still open, or by anybody since the test began."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from fastapi_events.api.publishing.session_events import events_of
from fastapi_events.errors import InvalidInput
from fastapi_events.model.job import Job
from fastapi_events.model.job_context import RunSource, RunState
from fastapi_events.model.run_start import RunStart
from fastapi_events.testing.input_fields import check_fields, value_of
from fastapi_events.testing.instance import Instance
from fastapi_events.testing.published import plain_session
from fastapi_events.testing.runs_telling import runs_instead
from fastapi_events.testing.services import runs_started

I = TypeVar("I")  # noqa: E741 - as in Job[I, O]
ANYTHING: Any = object()
"""Stands for any input."""


@dataclass(frozen=True, slots=True)
class StartedRun(Generic[I]):
    """A run: its input, and what is kept of it. ``state`` is None while it is not committed.

    ``due_at`` is when a run that waits for its time is due; of one that is neither committed nor given a moment
    (``delay``) nobody knows yet. ``source`` says what started it: ``manual``, ``event``, ``schedule`` or ``parent``.
    """

    input: I
    id: UUID
    job: str
    state: RunState | None
    source: RunSource
    attempts: int
    priority: int
    tags: tuple[str, ...]
    scope: tuple[str, str] | None
    tenant_id: str | None
    correlation_id: UUID
    parent_id: UUID | None
    due_at: datetime | None = None


class StartedRuns:
    """The runs of an instance's jobs, whatever has become of them; ``started(session)`` for an open session.

    Assertions name what there was instead.

    Example::

        run = await started.one(restock, Restock(sku="A-1"))    # or by fields: started.one(restock, sku="A-1")
        assert run.state == "pending"
        await started.none(refund)
        await started(session).one(restock)                     # before its commit
    """

    def __init__(self, events: Instance) -> None:
        self._events = events

    def __call__(self, session: Any) -> SessionRunsStarted:
        """What an open session has started and neither committed nor rolled back.

        ``session`` is an ``AsyncSession``, a ``Session``, or a scoped one; anything else is a ``TypeError``.
        """
        return SessionRunsStarted(self._events, session)

    async def everything(self) -> list[StartedRun[Any]]:
        """The runs of all jobs, in the order of starting."""
        return [_read(row, self._events.registry.jobs) for row in await self._rows(None)]

    async def all(
        self, job: Job[I, Any], input: I = ANYTHING, /, *,  # noqa: A002 - as in jobs.start
        where: Callable[[I], bool] | None = None, **fields: object,
    ) -> list[StartedRun[I]]:  # fmt: skip
        """The runs of a job with this input, or whose input has these fields, and of which ``where`` is true.

        Raises ``UnknownJob``, ``InvalidInput`` for an input that the job does not take, and ``UnknownOption`` for a
        field that its input does not have.
        """
        _check_job(job)
        check_fields(job, fields)
        wanted = input if input is ANYTHING else job.load_input(job.dump_input(input))
        jobs = {job.name: job}
        found = [_read(row, jobs) for row in await self._rows(job.name)]
        return [one for one in found if _matches(one.input, wanted, where, fields)]

    async def one(
        self, job: Job[I, Any], input: I = ANYTHING, /, *,  # noqa: A002
        where: Callable[[I], bool] | None = None, **fields: object,
    ) -> StartedRun[I]:  # fmt: skip
        """The only such run; an ``AssertionError`` if there is none, or another one. Raises as ``all``."""
        __tracebackhide__ = True
        found = await self.all(job, input, where=where, **fields)
        if len(found) != 1:
            raise AssertionError(await self._instead(job, input, where, fields, len(found), "exactly one"))
        return found[0]

    async def none(
        self, job: Job[I, Any], input: I = ANYTHING, /, *,  # noqa: A002
        where: Callable[[I], bool] | None = None, **fields: object,
    ) -> None:  # fmt: skip
        """An ``AssertionError`` if there is such a run. Raises as ``all``."""
        __tracebackhide__ = True
        found = await self.all(job, input, where=where, **fields)
        if found:
            raise AssertionError(await self._instead(job, input, where, fields, len(found), "none"))

    async def _instead(
        self, job: Job[Any, Any], given: Any, where: Any, fields: Mapping[str, object], found: int, wanted: str
    ) -> str:
        asked = {} if given is ANYTHING else {"": given}
        everything = await self.everything()
        return runs_instead(job, asked | dict(fields), everything, where=where, found=found, wanted=wanted)

    async def _rows(self, job: str | None) -> Sequence[Mapping[str, Any]]:
        return await runs_started(self._events, job)


class SessionRunsStarted(StartedRuns):
    """What one open session has started; the same assertions."""

    def __init__(self, events: Instance, session: Any) -> None:
        super().__init__(events)
        self._session = plain_session(session, "started(...)", "started.one(...)")

    async def _rows(self, job: str | None) -> Sequence[Mapping[str, Any]]:
        events = events_of(self._session)
        entries = [] if events is None else [*events.buffer.written, *events.buffer.waiting]
        starts = [entry.envelope for entry in entries if isinstance(entry.envelope, RunStart)]
        return [_row_of(one) for one in starts if job in (None, one.name)]


def _check_job(job: object) -> None:
    if not isinstance(job, Job):
        raise TypeError(
            f"started.one(), all() and none() take a job, which is what @module.job() makes, not {ascii(job)[:80]}."
        )


def _matches(found: Any, wanted: Any, where: Callable[[Any], bool] | None, fields: Mapping[str, object]) -> bool:
    same = wanted is ANYTHING or found == wanted
    same = same and all(value_of(found, name) == value for name, value in fields.items())
    return same and (where is None or where(found))


def _read(row: Mapping[str, Any], jobs: Mapping[str, Job[Any, Any]]) -> StartedRun[Any]:
    return StartedRun(
        _input_of(row, jobs.get(row["job"])), row["id"], row["job"], row["state"], row["source"], row["attempts"] or 0,
        row["priority"], tuple(row["tags"] or ()),
        (row["scope"], row["scope_id"]) if row["scope"] is not None else None, row["tenant_id"],
        row["correlation_id"], row["parent_id"], row["due_at"],
    )  # fmt: skip


def _input_of(row: Mapping[str, Any], job: Job[Any, Any] | None) -> Any:
    """The input as the job takes it, else what its JSON says."""
    try:
        return json.loads(row["input"]) if job is None else job.load_input(row["input"])
    except InvalidInput:
        return json.loads(row["input"])


def _row_of(start: RunStart) -> Mapping[str, Any]:
    return start._asdict() | {"job": start.name, "state": None, "attempts": 0, "due_at": start.at}
