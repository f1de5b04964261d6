"""A job's function called by itself: its context stands for the run, and nothing is stored."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from pydantic import TypeAdapter

from fastapi_events.api.jobs import JobClient
from fastapi_events.api.publisher import EventPublisher, SyncEventPublisher
from fastapi_events.engine.injection import Needs, fill
from fastapi_events.engine.jobs.asking import Asked, awaited
from fastapi_events.engine.jobs.context import SPAWN
from fastapi_events.engine.jobs.step_function import StepFunction, read_step
from fastapi_events.engine.jobs.step_ids import StepIds
from fastapi_events.engine.jobs.waits import timed_out
from fastapi_events.model.durations import checked_span
from fastapi_events.model.event import Event
from fastapi_events.model.identity import new_id
from fastapi_events.model.job import Job, checked_job
from fastapi_events.model.job_context import Child, ClosePolicy, JobContext, RunInfo
from fastapi_events.model.retry import Retry, Seconds
from fastapi_events.testing.stand_ins import StandIns

I = TypeVar("I")  # noqa: E741 - as in Job[I, O]
O = TypeVar("O")  # noqa: E741
MAX_RESULT = 1_048_576
_PUBLISHERS = frozenset[type[Any]]({EventPublisher, SyncEventPublisher, JobClient})


class Spawned(NamedTuple):
    """A run that the job has spawned."""

    child: Child[Any]
    job: Job[Any, Any]
    input: Any
    on_parent_close: ClosePolicy


class FakeJobContext(JobContext[I], Generic[I, O]):
    """What a test gives a job's function in place of a run: steps are called, pauses last no time, nothing is stored.

    ``steps`` are results of steps that are not to be called, by id; ``events`` is what ``wait_for`` gets, of a class
    and key the first that is left; ``signals`` what ``signal`` gets, by name, in order; ``children`` the results of
    spawned runs, by job: a value, or a function of the input. An exception in place of a result is raised. ``given`` is
    what functions of steps ask for by type: ``{HandlerSession: session}``.

    Afterwards ``done`` has the results of steps by id, ``slept`` the sleeps, ``spawned`` the runs, ``told`` the
    progress, and ``checkpoints`` how many there were. Results go through JSON, as they do in a run, ids are checked,
    and retries and time-outs of steps hold, without their pauses. A wait for what is not given ends in ``WaitTimeout``
    where it has a ``timeout``, else in an ``AssertionError``.

    Example::

        job = FakeJobContext(restock, Restock(sku="A-1"), steps={"quote": Quote(cents=100)}, events=[arrived])
        assert await job.call(session=session) == RestockResult(order_id=7)
        assert job.done["order"].order_id == 7
    """

    def __init__(
        self, job: Job[I, O], input: I, *, steps: Mapping[str, Any] | None = None,  # noqa: A002 - as in jobs.start
        events: Sequence[Event] = (), signals: Mapping[str, Sequence[Any]] | None = None,
        children: Mapping[Job[Any, Any], Any] | None = None, given: Mapping[type[Any], Any] | None = None,
        attempt: int = 1, redelivered: bool = False, tags: Sequence[str] = (), tenant_id: str | None = None,
        scheduled_for: datetime | None = None,
    ) -> None:  # fmt: skip
        checked_job(job, "FakeJobContext()", "FakeJobContext(restock, Restock(...))")
        self._job, self._input, self._given = job, job.load_input(job.dump_input(input)), dict(given or {})
        self._stand_ins = StandIns(self._owner, steps or {}, events, signals or {}, children or {})
        self._redelivered, self._ids = redelivered, StepIds(self._owner)
        self.asked = Asked(self._owner, is_async=job.is_async)
        run_id = new_id()
        self._run = RunInfo(
            run_id, job.name, attempt, run_id, None, tuple(tags), job.scope_of(self._input), tenant_id, run_id,
            datetime.now(UTC), scheduled_for,
        )  # fmt: skip
        self.done: dict[str, Any] = {}
        self.slept: list[timedelta] = []
        self.spawned: list[Spawned] = []
        self.told: list[tuple[float, float | None]] = []
        self.checkpoints = 0

    async def call(self, **arguments: Any) -> O:
        """Call the job with this context, and what else its signature asks for; its result, as it would be stored.

        A ``def`` job is called in a thread. Raises ``AssertionError`` for a stand-in that the job has not asked for.
        """
        function = self._job.make()
        self._check_arguments(function, arguments)
        try:
            value = await _called(function, (self,), arguments, is_async=self._job.is_async)
        except Exception as error:
            if unasked := self._stand_ins.unasked():
                error.add_note(unasked)
            if (cause := self.asked.cause_of(error)) is not error:
                raise cause from error
            raise
        self.asked.check()
        if unasked := self._stand_ins.unasked():
            raise AssertionError(unasked)
        return self._job.load_result(self._job.dump_result(value))

    @property
    def input(self) -> I:
        """What the run was started with."""
        return self._input

    @property
    def run(self) -> RunInfo:
        """The run."""
        return self._run

    @property
    def attempt(self) -> int:
        """The number of the attempt."""
        return self._run.attempt

    @property
    def redelivered(self) -> bool:
        """What it was made with."""
        return self._redelivered

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger ``fastapi_events.jobs``."""
        about = {"run_id": str(self._run.id), "job": self._job.name}
        return logging.LoggerAdapter(logging.getLogger("fastapi_events.jobs"), about)

    @awaited
    async def step(
        self, id: str, fn: Callable[..., Any], *args: Any, retry: Retry | None = None,  # noqa: A002
        timeout: Seconds | None = None,
    ) -> Any:  # fmt: skip
        """Call the function, or give the result that stands for it."""
        self._ids.take(id)
        about = f"{self._owner}, step {id!r}"
        read = read_step(fn, len(args), _PUBLISHERS | self._given.keys(), owner=about)
        seconds = checked_span(timeout, "timeout", about)
        given = self._stand_ins.has_step(id)
        value = self._stand_ins.step(id) if given else await self._tried(id, read, args, retry, seconds)
        text = read.result.dump(value, owner=about, max_size=MAX_RESULT)
        self.done[id] = read.result.load(text, owner=about)
        return self.done[id]

    @awaited
    async def sleep(self, duration: Seconds, *, id: str | None = None) -> None:  # noqa: A002
        """Note it, and go on."""
        self._ids.own("sleep", id)
        seconds = checked_span(duration, "job.sleep", self._owner, zero=True, called=True) or 0.0
        self.slept.append(timedelta(seconds=seconds))

    @awaited
    async def wait_for(
        self, event: type[Any], *, key: str | None = None, timeout: Seconds | None = None,
        id: str | None = None,  # noqa: A002
    ) -> Any:  # fmt: skip
        """The first event of the class, and of the key, that is left."""
        self._ids.own("event", id)
        found = self._stand_ins.event(event, key)
        if found is None:
            raise self._nothing(event.__qualname__, timeout, f"events=[{event.__qualname__}(...)]")
        return found

    @awaited
    async def signal(
        self, name: str, type: Any, *, timeout: Seconds | None = None, id: str | None = None  # noqa: A002
    ) -> Any:  # fmt: skip
        """The next signal of the name that is left."""
        self._ids.own("signal", id)
        sent = self._stand_ins.signal(name)
        if sent is None:
            raise self._nothing(f"signal {name!r}", timeout, f"signals={{{name!r}: [...]}}")
        return TypeAdapter[Any](type).validate_json(sent)

    @awaited
    async def spawn(
        self, job: Job[Any, Any], input: Any, *,  # noqa: A002
        on_parent_close: Literal["terminate", "cancel", "abandon"] = "cancel", id: str | None = None,  # noqa: A002
    ) -> Child[Any]:  # fmt: skip
        """Note it; nothing is run."""
        self._ids.own("spawn", id)
        child: Child[Any] = Child(new_id(), checked_job(job, f"{self._owner}: job.spawn()", SPAWN).name)
        self._stand_ins.spawned(job)
        self.spawned.append(Spawned(child, job, job.load_input(job.dump_input(input)), on_parent_close))
        return child

    @awaited
    async def gather_children(self, *children: Child[Any]) -> list[Any]:
        """The results that are given for the jobs of these children, or of all."""
        chosen: list[UUID] = [child.run for child in children] or [one.child.run for one in self.spawned]
        spawned = {one.child.run: one for one in self.spawned}
        return [self._stand_ins.child(spawned[run].job, spawned[run].input) for run in chosen]

    @awaited
    async def progress(self, done: float, total: float | None = None) -> None:
        """Note it."""
        self.told.append((done, total))

    @awaited
    async def heartbeat(self) -> None:
        """There is no time-out to begin anew."""

    @awaited
    async def checkpoint(self, *, id: str | None = None) -> None:  # noqa: A002
        """Count it."""
        self._ids.own("checkpoint", id)
        self.checkpoints += 1

    async def _tried(
        self, name: str, read: StepFunction, args: tuple[Any, ...], retry: Retry | None, seconds: float | None
    ) -> Any:
        missing = [kind for kind in read.signature.wants if kind not in self._given]
        if missing:
            kind = missing[0].__name__
            raise TypeError(
                f"{self._owner}, step {name!r} asks for {kind}, which is not given: FakeJobContext(..., "
                f"given={{{kind}: ...}}), or its result, steps={{{name!r}: ...}}."
            )
        attempts = 0
        while True:
            attempts += 1
            try:
                async with asyncio.timeout(seconds), AsyncExitStack() as stack:
                    given = await fill(read.signature, Needs(self._given, stack))
                    return await _called(read.function, args, given, is_async=read.is_async)
            except Exception as error:
                if retry is None or not retry.permits(error) or attempts >= retry.max_attempts:
                    raise

    def _check_arguments(self, function: Callable[..., Any], arguments: dict[str, Any]) -> None:
        try:
            inspect.signature(function).bind(self, **arguments)
        except TypeError as error:
            raise TypeError(
                f"{self._owner}: call(): {error}. What the job takes beside its context is given by name: "
                "await job.call(session=session)."
            ) from None

    def _nothing(self, what: str, timeout: Seconds | None, given: str) -> Exception:
        if checked_span(timeout, "timeout", self._owner) is not None:
            return timed_out(f"{self._owner}, {what}")
        return AssertionError(f"{self._owner} waits for {what}, and none is left: FakeJobContext(..., {given}).")

    @property
    def _owner(self) -> str:
        return f"job {self._job.name!r}"


async def _called(
    function: Callable[..., Any], args: tuple[Any, ...], given: Mapping[str, Any], *, is_async: bool
) -> Any:  # fmt: skip
    if is_async:
        return await function(*args, **given)
    value = await asyncio.to_thread(functools.partial(function, *args, **given))
    return await value if inspect.isawaitable(value) else value
