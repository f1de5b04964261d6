"""The steps of one attempt: what has a result gets it, what has none is done now and recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NoReturn

from fastapi_events.engine.failure import failure_of
from fastapi_events.engine.infrastructure import is_infrastructure
from fastapi_events.engine.jobs.family import Spawned, given_of
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.job_secrecy import discreet_failure
from fastapi_events.engine.jobs.step_call import StepCall
from fastapi_events.engine.jobs.step_function import StepFunction, read_step
from fastapi_events.engine.jobs.step_ids import StepIds, called
from fastapi_events.engine.jobs.step_recording import recorded
from fastapi_events.engine.jobs.step_time import ended, within_time
from fastapi_events.engine.jobs.suspension import Leaving, RunLost, Suspended
from fastapi_events.engine.jobs.tools import JobTools
from fastapi_events.engine.jobs.waits import Found, timed_out
from fastapi_events.errors import InvalidResult, Steering, UnstableSteps
from fastapi_events.model.event import Event
from fastapi_events.model.handler_options import check_retry
from fastapi_events.model.job import Job
from fastapi_events.model.job_context import Child
from fastapi_events.model.retry import Retry
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.steps import StepRecord

LONGEST_PAUSE = 1.0
"""Seconds that a run waits where it is, rather than be left and taken up again."""


class Steps:
    """What one attempt does, step by step."""

    def __init__(self, run: JobRun, tools: JobTools) -> None:
        self._run, self._tools = run, tools
        self._stored: dict[str, Any] | None = None
        self._reading = asyncio.Lock()
        self._ids = StepIds(f"job {run.job.id!r}")
        self._count = 0
        self._spawned: list[Child[Any]] = []
        self._under_way: set[asyncio.Future[Any]] = set()
        self.left: Leaving | None = None
        """Why the job was left, once it was: whatever it does from then on counts for nothing."""

    async def step(
        self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...], retry: Retry | None,
        timeout: float | None,
    ) -> Any:  # fmt: skip
        """The result of a step: the recorded one, or what the function returns now."""
        self._ids.take(name)
        about = self._about(name)
        check_retry(retry, about)
        number, read = self._next(), read_step(function, len(arguments), self._tools.givers, owner=about)
        stored = (await self._known()).get(name)
        if stored is None:
            self._ids.check_stable(await self._known(), name, number, read.source)
        elif stored["source"] != read.source or stored["kind"] != "step":
            raise UnstableSteps(
                f"{self._owner}: step {name!r} was recorded as {stored['source'] or stored['kind']}, and is "
                f"{read.source} now. An id means the same in each attempt: give the other step an id of its own."
            )
        elif stored["state"] == "done":
            return read.result.load(stored["result"], owner=about)
        return await self._do(name, number, read, arguments, retry, timeout, stored["attempts"] if stored else 0)

    async def sleep(self, seconds: float, chosen: str | None = None) -> None:
        """Wait until a moment that is fixed when it is first come to."""
        name, number = self._ids.own("sleep", chosen), self._next()
        stored = (await self._known()).get(name)
        if stored is None:
            stored = await self._record(StepRecord(name, number, "sleep", "waiting", delay=seconds))
        left: float = stored["seconds_left"]
        if left > LONGEST_PAUSE:
            self._leave(Suspended(left))
        await asyncio.sleep(max(left, 0.0))

    async def spawn(self, job: Job[Any, Any], value: Any, on_parent_close: str, chosen: str | None) -> Child[Any]:
        """Start a run below this one, once."""
        name, number = self._ids.own("spawn", chosen), self._next()
        child = self._tools.family.seal(self._run, job, value, on_parent_close)
        stored = (await self._known()).get(name)
        if stored is not None:
            known = Spawned.of(stored)
            if known.job != job.name or (chosen is None and known.given != given_of(child)):
                what = "with another input" if known.job == job.name else f"of {job.name}"
                raise UnstableSteps(
                    f"{self._owner}: its {called(name)} started a run of {known.job}, and is one "
                    f"{what} now. Spawn in the same order in each attempt, or give each an id: spawn(..., id='for-1')."
                )
            return known.child
        if self._run.abandoned:
            self._leave(RunLost())
        self._run.family = True  # before anything is waited for: whoever records its end looks for children
        spawning = self._tools.family.spawn(self._run, child, name=name, number=number)
        if not await within_time(spawning, None, name, self._under_way):
            self._leave(RunLost())
        self._spawned.append(Child(child.id, job.name))
        return self._spawned[-1]

    async def children(self, wanted: Sequence[Child[Any]]) -> list[Any]:
        """The results of children, once all have ended."""
        self._next()
        spawned = [Spawned.of(row).child for row in (await self._known()).values() if row["kind"] == "spawn"]
        known = {child.run: child for child in (*spawned, *self._spawned)}
        chosen = list(wanted) or list(known.values())
        news, results = await self._tools.family.results(self._run.claim.run_id, chosen)
        if results is None:
            # The count of those that are left may be of another life, once there was one: each end is looked at then.
            anew = self._run.item.row["redrives"] > 0
            self._run.seen, self._run.wakes = news, anew or len({child.run for child in chosen}) < len(known)
            self._leave(Suspended(0.0))
        return results

    async def signal(self, name: str, kind: Any, timeout: float | None, chosen: str | None) -> Any:
        """Take a signal, or wait for one."""
        about = f"{self._owner}, signal {name!r}"
        text = await self._waited("signal", chosen, name, about, lambda step, number: self._tools.waits.signal(
            self._run, step, number, name, timeout))  # fmt: skip
        return self._tools.waits.read_signal(text, kind, owner=about)

    async def event(self, event: type[Event], key: str | None, timeout: float | None, chosen: str | None) -> Any:
        """Wait for an event."""
        awaited = self._tools.waits.awaited(self._run, event, key)
        about = f"{self._owner}, {event.__qualname__}" + (f" of {key!r}" if key is not None else "")
        text = await self._waited("event", chosen, awaited.source, about, lambda step, number: self._tools.waits.event(
            self._run, step, number, awaited, timeout))  # fmt: skip
        return self._tools.waits.read_event(text, event)

    async def _waited(
        self, kind: str, chosen: str | None, what: str, about: str,
        ask: Callable[[str, int], Coroutine[Any, Any, Found]],
    ) -> str:  # fmt: skip
        """What came of a wait; the job is left until something has."""
        step, number = self._ids.own(kind, chosen), self._next()
        stored = (await self._known()).get(step)
        if stored is not None and stored["source"] != what:
            raise UnstableSteps(
                f"{self._owner}: its {called(step)} waited for {stored['source']}, and is for {what}"
                " now. Wait in the same order in each attempt, or give each wait an id of its own: id='paid'."
            )
        if stored is None or stored["state"] == "waiting":
            if self._run.abandoned:
                self._leave(RunLost())
            found: Found = await within_time(ask(step, number), None, step, self._under_way)
            if found is None:
                self._leave(RunLost())
            stored, news = found
            if stored["state"] == "waiting":
                left: float | None = stored["seconds_left"]
                if left is None or left > 0:
                    self._run.seen, self._run.wakes, self._run.awaits = news, True, kind == "event"
                    self._leave(Suspended(left or 0.0))
                await self._record(StepRecord(step, number, kind, "done", what, error_type="WaitTimeout"))
                raise timed_out(about)
        if stored["result"] is None:
            raise timed_out(about)
        result: str = stored["result"]
        return result

    async def end(self, *, cancel: bool) -> None:
        """Begin no step any more, and return when those that others of the job's tasks have begun are over.

        What is put down lets them finish; what ends cancels them. An attempt has no work left when it is recorded.
        """
        self.left = self.left or RunLost()
        if self._under_way:
            await ended(self._under_way, cancel=cancel)
        if self._run.recording:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(set(self._run.recording))

    async def checkpoint(self, chosen: str | None) -> None:
        """Mark a place."""
        name, number = self._ids.own("checkpoint", chosen), self._next()
        if name not in await self._known():
            await self._record(StepRecord(name, number, "checkpoint", "done"))

    async def progress(self, done: float, total: float | None) -> None:
        """Say how far the run is; who has lost it says nothing, and is left."""
        if self._run.abandoned or not await self._tools.steps.progress(self._run.claim, done, total):
            self._leave(RunLost())

    async def _do(
        self, name: str, number: int, read: StepFunction, arguments: tuple[Any, ...], retry: Retry | None,
        timeout: float | None, before: int,
    ) -> Any:  # fmt: skip
        attempts = before
        while True:
            attempts += 1
            began = asyncio.get_running_loop().time()
            try:
                record = StepRecord(name, number, "step", "done", read.source, attempts=attempts)
                return await self._called(record, read, arguments, timeout, began)
            except Exception as error:
                if retry is None or isinstance(error, (Steering, InvalidResult, *self._run.misuse)):
                    raise
                if is_infrastructure(error):
                    raise
                if not retry.permits(error) or attempts >= retry.max_attempts:
                    raise
                await self._pause(name, number, read, attempts, error, retry.backoff.delay(attempts))

    async def _pause(
        self, name: str, number: int, read: StepFunction, attempts: int, error: Exception, delay: float
    ) -> None:  # fmt: skip
        what = discreet_failure(failure_of(error), self._run)
        await self._record(
            StepRecord(
                name, number, "step", "retry", read.source, attempts=attempts, error_type=what.error_type,
                error_message=what.message,
            )
        )  # fmt: skip
        self._run.unrecorded -= 1
        if delay > LONGEST_PAUSE:
            self._leave(Suspended(delay))
        await asyncio.sleep(delay)

    async def _called(
        self, record: StepRecord, read: StepFunction, arguments: tuple[Any, ...], timeout: float | None, began: float
    ) -> Any:  # fmt: skip
        call = StepCall(self._run, self._tools, record, read, arguments, began, self._record)
        self._run.unrecorded += 1
        result = await within_time(call.make(), timeout, record.name, self._under_way, lambda: call.returned)
        self._run.unrecorded -= 1
        return result

    async def _known(self) -> dict[str, Any]:
        async with self._reading:
            if self._stored is None:
                fresh = self._run.attempts == 1 and not self._run.redelivered and not self._run.item.row["resumed"]
                self._stored = {} if fresh else await self._tools.steps.read(self._run.claim.run_id)
            return self._stored

    async def _record(self, step: StepRecord, execute: Any = None, *, sealed: Sequence[Sealed] = ()) -> Any:
        row = None
        if not self._run.abandoned and execute is None:
            row = await recorded(self._run, self._tools, step, sealed)
        elif not self._run.abandoned:
            row = await self._tools.record(self._run.claim, step, execute, sealed)
        if row is None:
            self._leave(RunLost())
        return row

    def _leave(self, leaving: Leaving) -> NoReturn:
        self.left = self.left or leaving
        raise leaving

    def _next(self) -> int:
        if self.left is not None:
            raise self.left
        self._count += 1
        return self._count

    def _about(self, name: str) -> str:
        return f"{self._owner}, step {name!r}"

    @property
    def _owner(self) -> str:
        return f"job {self._run.job.id!r}"
