"""What a job is given to work with, while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property
from math import inf
from typing import Any, Literal, get_args
from uuid import UUID

from fastapi_events.engine.jobs.asking import Asked, awaited
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.steps import Steps
from fastapi_events.engine.jobs.tools import JobTools
from fastapi_events.errors import ContradictoryOptions, InvalidInput, InvalidJob
from fastapi_events.model.durations import checked_span
from fastapi_events.model.event import Event
from fastapi_events.model.job import Job, checked_job
from fastapi_events.model.job_context import Child, ClosePolicy, JobContext, RunInfo
from fastapi_events.model.job_keys import checked_signal
from fastapi_events.model.job_limits import not_among
from fastapi_events.model.retry import Retry, Seconds

logger = logging.getLogger("fastapi_events.jobs")
SPAWN = "await job.spawn(ship, Ship(order=7))"


class RunningJob(JobContext[Any]):
    """The context of one attempt: what ``JobContext`` promises."""

    def __init__(self, run: JobRun, value: Any, tools: JobTools) -> None:
        self._run, self._tools, self._input = run, tools, value
        self.steps = Steps(run, tools)
        self.asked = Asked(self._owner, is_async=run.job.is_async)

    @property
    def input(self) -> Any:
        """What the run was started with."""
        return self._input

    @property
    def run(self) -> RunInfo:
        """The run."""
        return self._info

    @cached_property
    def _info(self) -> RunInfo:
        row = self._run.item.row
        run_id: UUID = row["run_id"]
        return RunInfo(
            id=run_id, job=self._run.job.id, attempt=self._run.attempts, root_id=row["root_id"] or run_id,
            parent_id=row["parent_id"], tags=tuple(row["tags"] or ()),
            scope=(row["scope"], row["scope_id"]) if row["scope"] is not None else None, tenant_id=row["tenant_id"],
            correlation_id=row["correlation_id"], created_at=row["created_at"],
            scheduled_for=row["scheduled_for"],
        )  # fmt: skip

    @property
    def attempt(self) -> int:
        """The number of this attempt."""
        return self._run.attempt

    @property
    def redelivered(self) -> bool:
        """Whether an earlier attempt ended uncleanly."""
        return self._run.redelivered

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that says which run it is about, and whose lines are kept with it."""
        return self._log

    @cached_property
    def _log(self) -> logging.LoggerAdapter[logging.Logger]:
        about: dict[str, object] = {"run_id": str(self._run.claim.run_id), "job": self._run.job.id}
        logs = self._tools.logs
        return logging.LoggerAdapter(logger, about) if logs is None else logs.logger_of(self._run, about)

    @awaited
    async def step(
        self,
        id: str,  # noqa: A002 - as in JobContext
        fn: Callable[..., Any],
        *args: Any,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
    ) -> Any:
        """Call a function once for the run; see ``JobContext.step``."""
        seconds = checked_span(timeout, "timeout", f"job {self._run.job.id!r}, step {ascii(id)[:80]}")
        self._check_lent(id, args)
        return await self.steps.step(id, fn, args, retry, seconds)

    def _check_lent(self, step: Any, arguments: tuple[Any, ...]) -> None:
        session = self._run.session
        if session is not None and any(one is session for one in arguments):
            raise InvalidJob(
                f"{self._owner}, step {ascii(step)[:80]} is given the session of its job, which commits with the end "
                "of the run: a pause would undo what the step has done, and it is not done again. Let the step's "
                "function take session: HandlerSession itself, which commits with the step."
            )

    @awaited
    async def sleep(self, duration: Seconds, *, id: str | None = None) -> None:  # noqa: A002 - as in JobContext
        """Go on later; see ``JobContext.sleep``."""
        seconds = checked_span(
            duration, "job.sleep", self._owner, zero=True, none="is over before it begins", called=True
        )  # fmt: skip
        await self.steps.sleep(seconds or 0.0, id)

    @awaited
    async def wait_for(
        self,
        event: type[Event],
        *,
        key: str | None = None,
        timeout: Seconds | None = None,
        id: str | None = None,  # noqa: A002 - as in JobContext
    ) -> Any:
        """Go on with the next event of a class; see ``JobContext.wait_for``."""
        return await self.steps.event(event, key, checked_span(timeout, "timeout", self._owner), id)

    @awaited
    async def signal(
        self,
        name: str,
        type: Any,  # noqa: A002 - as in JobContext
        *,
        timeout: Seconds | None = None,
        id: str | None = None,  # noqa: A002 - as in JobContext
    ) -> Any:
        """Go on when somebody sends this run a signal; see ``JobContext.signal``."""
        seconds = checked_span(timeout, "timeout", self._owner)
        return await self.steps.signal(checked_signal(name, self._owner), type, seconds, id)

    @property
    def _owner(self) -> str:
        return f"job {self._run.job.id!r}"

    @awaited
    async def spawn(
        self,
        job: Job[Any, Any],
        input: Any,  # noqa: A002 - as in JobContext
        *,
        on_parent_close: Literal["terminate", "cancel", "abandon"] = "cancel",
        id: str | None = None,  # noqa: A002 - as in JobContext
    ) -> Child[Any]:
        """Start a run below this one; see ``JobContext.spawn``."""
        checked_job(job, f"{self._owner}: job.spawn()", SPAWN, InvalidJob)
        if on_parent_close not in get_args(ClosePolicy):
            words = get_args(ClosePolicy)
            raise ContradictoryOptions(
                f"job {self._run.job.id!r}: {not_among(on_parent_close, 'on_parent_close', words)}"
            )
        return await self.steps.spawn(job, input, on_parent_close, id)

    @awaited
    async def gather_children(self, *children: Child[Any]) -> list[Any]:
        """Wait for children; see ``JobContext.gather_children``."""
        for child in children:
            if not isinstance(child, Child):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
                raise InvalidInput(
                    f"{self._owner}: gather_children() takes what job.spawn(...) has returned, not {ascii(child)[:80]}."
                )
        return await self.steps.children(children)

    @awaited
    async def checkpoint(self, *, id: str | None = None) -> None:  # noqa: A002 - as in JobContext
        """Mark a place; see ``JobContext.checkpoint``."""
        await self.steps.checkpoint(id)

    @awaited
    async def progress(self, done: float, total: float | None = None) -> None:
        """Say how far the run is."""
        self._check_progress(done, total)
        await self.steps.progress(float(done), None if total is None else float(total))

    def _check_progress(self, *given: float | None) -> None:
        for number in given:
            if number is None or (type(number) in (int, float) and 0 <= number < inf):
                continue
            raise InvalidInput(
                f"{self._owner}: progress({ascii(number)[:80]}): how much is done, and of how much, are numbers from 0."
            )

    @awaited
    async def heartbeat(self) -> None:
        """Say that the run lives: the time of its attempt begins anew."""
        if self._run.on_heartbeat is not None:
            self._run.on_heartbeat()
