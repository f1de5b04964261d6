"""What users call to start jobs, to look after runs, and to wait for their results."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from uuid import UUID

from pydantic import GetCoreSchemaHandler, TypeAdapter

from fastapi_events.api.publishing.caller import caller
from fastapi_events.api.publishing.outlets import Outlet
from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.api.run_filter import next_page, run_filter
from fastapi_events.api.scoped_runs import ScopedRuns, id_of
from fastapi_events.errors import (
    DeclarationError,
    InvalidInput,
    InvalidPayload,
    ResultTimeout,
    RunNotFound,
)
from fastapi_events.model.context import current_flow
from fastapi_events.model.durations import checked_span
from fastapi_events.model.job import Job, ReplayFrom, checked_job
from fastapi_events.model.job_context import RunState, Started
from fastapi_events.model.job_keys import checked_signal
from fastapi_events.model.job_replay import checked_place
from fastapi_events.model.lane import place_of
from fastapi_events.model.run_failing import failed_run, problem_of
from fastapi_events.model.run_sealing import StartOptions, seal_run, seal_runs, start_options
from fastapi_events.model.run_start import READY, RUNS, RunStart
from fastapi_events.model.unknown_options import names_unknown
from fastapi_events.model.values import encode_value
from fastapi_events.store.redrives import Anew

I = TypeVar("I")  # noqa: E741 - as in Job[I, O]
O = TypeVar("O")  # noqa: E741

FIRST_LOOK, LONGEST_LOOK = 0.005, 0.5
"""Seconds between two looks for a result: the first pause, and the longest."""


class StartKeywords(TypedDict, total=False):
    """Options of a start: ``run_at`` (an aware datetime) or ``delay`` (seconds, or a ``timedelta``, by the database's
    clock), ``priority`` (higher first), ``tags``, ``scope`` (type and id of what the run belongs to), ``tenant_id``,
    ``correlation_id``."""

    run_at: datetime | None
    delay: float | timedelta | None
    priority: int | None
    tags: list[str] | tuple[str, ...]
    scope: tuple[str, Any] | None
    tenant_id: str | None
    correlation_id: UUID | None


@dataclass(frozen=True, slots=True)
class RunPage:
    """Runs, and where the next page begins; ``next`` is None behind the last one."""

    runs: list[RunView[Any]]
    next: str | None


@dataclass(frozen=True, slots=True)
class RunView(Generic[O]):
    """A run as it is now, by what is committed.

    ``attempts`` have been spent; a pause spends none. ``due_at`` is when it begins or goes on, if that is a moment:
    a start in the future, a back-off, a sleep. ``reason`` is that of its end; ``error_…`` are those of its last error,
    of a run that has failed or timed out and of one that is being tried again: ``observe.run(id).history`` has all.
    """

    id: UUID
    job: str
    state: RunState
    attempts: int
    created_at: datetime
    due_at: datetime | None
    finished_at: datetime | None
    priority: int
    tags: tuple[str, ...]
    scope: tuple[str, str] | None
    tenant_id: str | None
    correlation_id: UUID
    parent_id: UUID | None
    root_id: UUID
    reason: str | None
    note: str | None
    error_type: str | None
    error_message: str | None


class JobClient(ScopedRuns):
    """Starts jobs in the transaction of the session that it is bound to, and looks after runs.

    ``run = await jobs.start(restock, Restock(sku="A-1"))``: the run is there with the session's commit, together with
    its rows and events, or not at all.

    Where a tenant is known, in a request or a handler, a run of another tenant, or of none, is not there:
    ``RunNotFound``, whatever is asked of it by its id.

    Raises ``UnknownJob`` for a job of no module of this application, ``InvalidInput`` before any SQL, and what
    publishing raises for sessions that cannot be used.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """FastAPI takes a bare client for a part of the body: say what to write instead."""
        raise DeclarationError(
            "FastAPI cannot give an endpoint a bare JobClient. Annotate the parameter with Jobs, or, on your own "
            "session, with Annotated[JobClient, Depends(jobs_on(SessionDep))]."
        )

    def __init__(self, port: PublishingPort, outlet: Outlet, *, endpoint: Any = None) -> None:
        self._port, self._outlet, self._endpoint = port, outlet, endpoint

    async def start(self, job: Job[I, O], input: I, **options: Unpack[StartKeywords]) -> Started[O]:  # noqa: A002
        """Start one run; a start that its job's ``Dedupe`` takes for another gives that run, as ``existing``.

        A job with ``Dedupe``, or whose ``Concurrency`` says ``reject`` or ``replace``, asks the database at once and
        waits for transactions that start the same key. Raises ``JobCollisionError`` for ``reject``.
        """
        given = start_options(options)
        sealed = self._seal(job, input, given)
        await self._outlet.put([sealed], caller(self._endpoint))
        return _started(sealed)

    async def start_many(
        self, job: Job[I, O], inputs: Iterable[I], **options: Unpack[StartKeywords]
    ) -> list[Started[O]]:
        """Start a run for each input, with the same options, in one statement; or none of them if one is refused."""
        given = start_options(options)
        number = self._number(job)
        sealed = seal_runs(job, number, inputs, current_flow(), self._port.rules, given)
        if sealed:
            await self._outlet.put(sealed, caller(self._endpoint))
        return [_started(one) for one in sealed]

    async def get(self, run: UUID | Started[Any]) -> RunView[Any]:
        """The run as it is now, by what is committed; raises ``RunNotFound``."""
        return _view(await self._row(id_of(run)))

    async def list(
        self,
        job: Job[Any, Any] | None = None,
        *,
        state: RunState | None = None,
        scope: tuple[str, Any] | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> RunPage:
        """Runs of this application, the newest first, by what is committed.

        Those of one job, in one state, or of one ``scope``; ``after`` is the ``next`` of the page before, ``limit`` is
        1 to 500. A state orders by when runs ended, for those that have; a scope goes with nothing else, and where a
        tenant is known, in a request or a handler, it gives those of that tenant alone. Raises ``InvalidFilter``.
        """
        wanted = run_filter(self._port.job_numbers(), job, state=state, scope=scope, after=after, limit=limit)
        found = await self._port.run_readings.page(replace(wanted, tenant=current_flow().tenant_id))
        return RunPage([_view(row) for row, _ in found], next_page(found, limit))

    async def signal(self, run: UUID | Started[Any], name: str, value: Any = None) -> bool:
        """Send a signal to a run, at once and durably: its job gets it from ``job.signal(name, type)``, now or later.

        ``value`` is anything that JSON can hold, or a model. Signals of a name are taken in the order of sending, each
        once. Returns whether it was sent: False if the run has ended. Raises ``RunNotFound`` and ``InvalidInput``.
        """
        run_id, owner = await self._meant(run), "jobs.signal()"
        try:
            text = encode_value(
                value, TypeAdapter(Any), Any, what="value", owner=owner, max_size=self._port.rules.max_payload_size
            )
        except InvalidPayload as error:
            raise InvalidInput(str(error), path=error.path) from error.__cause__
        if await self._port.run_readings.signal(run_id, checked_signal(name, owner), text):
            self._port.committed({place_of(RUNS, READY)})
            return True
        await self._row(run_id)
        return False

    async def retry(self, run: UUID | Started[Any]) -> bool:
        """Let a run that has failed, timed out or was cancelled begin anew, with a fresh budget of attempts.

        What its steps have done stays done, and its limits hold again. Returns whether it has: False if it has not
        ended, or has succeeded. Raises ``RunNotFound``, and ``RunConflict``, naming it, if another run has its dedupe
        key now, or is there and its job's ``Concurrency`` says ``reject`` or ``replace``. Raises
        ``OperationUnavailable`` while a transaction that starts one of its key goes on.
        """
        run_id = await self._meant(run)
        anew = await self._port.run_readings.redrive(run_id)
        if not anew.begun and not anew.conflicts:
            await self._row(run_id)
        return self._begun(anew)

    async def replay(self, run: UUID | Started[Any], from_: ReplayFrom | None = None) -> bool:
        """Let a run that has ended, however it did, begin again, with a fresh budget of attempts.

        ``from_`` says from where: ``scratch`` forgets all of its steps, ``last_step`` the last one that was done and
        what came after, ``last_checkpoint`` what came after the last checkpoint; left out, it is the job's
        ``replay_from``. Returns whether it has: False if it had not ended. Raises ``RunNotFound``, ``RunConflict`` as
        ``retry`` does, and ``InvalidInput`` for another place.
        """
        run_id = id_of(run)
        start = await self._place(run_id, from_)
        return self._begun(await self._port.run_readings.replay(run_id, start))

    def _begun(self, anew: Anew) -> bool:
        anew.check()
        if anew.begun:
            self._port.committed({place_of(RUNS, READY)})
        return bool(anew.begun)

    async def _place(self, run_id: UUID, given: ReplayFrom | None) -> ReplayFrom:
        row = await self._row(run_id)
        if given is None:
            job = self._port.registry.jobs.get(row["job"])
            return job.replay_from if job is not None else "last_checkpoint"
        return checked_place(given)

    @names_unknown
    async def result(self, run: Started[O], timeout: float | timedelta) -> O:
        """Wait for a run to end, for ``timeout`` seconds at most, and return what its job returned.

        The run must be committed: nobody else can see it before. Raises ``ResultTimeout`` when the time is over,
        ``JobFailed``, ``JobTimedOut`` or ``JobCanceled`` for a run that ended so, ``RunNotFound``.
        """
        run_id = id_of(run)
        seconds = checked_span(timeout, "timeout", "jobs.result()", zero=True) or 0.0
        pause, loop = FIRST_LOOK, asyncio.get_running_loop()
        until = loop.time() + seconds
        while (row := await self._row(run_id))["finished_at"] is None:
            left = until - loop.time()
            if left <= 0:
                raise ResultTimeout(f"run {run_id} of {row['job']} has not ended within {seconds:g} s.")
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_LOOK)
        value: O = self._result(row)
        return value

    def _result(self, row: Any) -> Any:
        about = f"run {row['id']} of {row['job']}"
        if row["state"] == "completed":
            job = self._port.registry.jobs.get(row["job"])
            if job is None or row["result"] is None:
                raise RunNotFound(f"{about}: its result is not kept any more.")
            return job.load_result(row["result"])
        problem = problem_of(row["error_type"], row["error_message"], row["note"], row["reason"])
        raise failed_run(row["id"], row["job"], row["state"], problem)

    def _seal(self, job: Job[Any, Any], value: Any, given: StartOptions) -> RunStart:
        return seal_run(job, self._number(job), value, current_flow(), self._port.rules, given)

    def _number(self, job: Job[Any, Any]) -> int:
        return self._port.job_number(checked_job(job, "jobs.start()", "jobs.start(restock, Restock(...))").name)


def _started(sealed: RunStart) -> Started[Any]:
    return Started(sealed.standing, existing=sealed.is_duplicate)


def _view(row: Any) -> RunView[Any]:
    return RunView(
        id=row["id"], job=row["job"], state=row["state"], attempts=row["attempts"] or 0, created_at=row["created_at"],
        due_at=row["due_at"], finished_at=row["finished_at"], priority=row["priority"], tags=tuple(row["tags"] or ()),
        scope=(row["scope"], row["scope_id"]) if row["scope"] is not None else None, tenant_id=row["tenant_id"],
        correlation_id=row["correlation_id"], parent_id=row["parent_id"], root_id=row["root_id"] or row["id"],
        reason=row["reason"], note=row["note"], error_type=row["error_type"], error_message=row["error_message"],
    )  # fmt: skip
