"""Triggers as handlers: what is called in place of a user's function makes the input of a run that is to be started.

The run is one of the children of the delivery's success: the transaction that records that the event has been dealt
with starts it, or neither happens. Whatever holds for handlers holds for triggers: retries, dead letters, pauses,
breakers, replays, and waiting for a process that has it.

Where the job's limits have to be asked first (``Dedupe``, ``reject``, ``replace``), that may wait for transactions of
the application, which must hold up no batch: such a trigger has a transaction of its own, as a handler with a session.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol

from fastapi_events.engine.compiling import hint_of
from fastapi_events.engine.failure import failure, safe_text
from fastapi_events.engine.handler_session import HandlerSession
from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.injection import Given, Signature
from fastapi_events.engine.run import Run
from fastapi_events.engine.stored_versions import Unreadable
from fastapi_events.errors import InvalidInput, JobError, PublishError
from fastapi_events.model.breaker import Breaker
from fastapi_events.model.context import current_flow
from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.job import Job
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.registry import Registry
from fastapi_events.model.retry import Retry
from fastapi_events.model.run_start import RunStart
from fastapi_events.model.trigger import Trigger
from fastapi_events.model.triggered import seal_triggered

NO_RUN = "its condition did not hold"
_SIGNATURE = Signature((("run", Given(Run)),), frozenset({Run}))
_ASKING = Signature((("run", Given(Run)), ("_session", Given(HandlerSession))), frozenset({Run, HandlerSession}))


class Starting(Protocol):
    """What starting runs needs of an instance."""

    @property
    def rules(self) -> PublishRules:
        """How inputs are sealed."""
        ...

    def job_number(self, name: str) -> int:
        """The number that the database has for a job."""
        ...

    async def start_within(self, run: Run, start: RunStart) -> None:
        """Start a run in the transaction of an attempt, as far as its limits allow."""
        ...


class TriggerCall:
    """What is called with an event in place of a handler's function."""

    def __init__(self, job: Job[Any, Any], trigger: Trigger[Any, Any], starting: Starting) -> None:
        self._job, self._trigger, self._starting = job, trigger, starting

    async def __call__(self, event: Any, run: Run, _session: HandlerSession | None = None) -> None:
        """Leave a run to be started with the attempt's success, or say that there is none to start."""
        if not self._holds(event):
            run.skipped = NO_RUN
            return
        start = self._seal(self._trigger.map(event), run)
        if start.limits is not None:
            start.limits.unattended = True
        if not self._job.asks:
            run.children.append(start)
            return
        await self._starting.start_within(run, start)
        if start.limits is not None and start.limits.refusal is not None:
            run.skipped = start.limits.told

    def _holds(self, event: Any) -> bool:
        when = self._trigger.when
        if when is None:
            return True
        answer: object = when(event)
        if inspect.iscoroutine(answer):
            answer.close()
            raise JobError(f"{self._owner}: when= returned a coroutine. Write a plain function that returns a bool.")
        return bool(answer)

    def _seal(self, value: Any, run: Run) -> RunStart:
        job, starting = self._job, self._starting
        number = starting.job_number(job.name)
        try:
            return seal_triggered(job, number, value, run.item.id, run.handler.number, current_flow(), starting.rules)
        except (InvalidInput, PublishError) as error:
            # The same event would make the same input again.
            problem = f"{self._owner} made what the job does not take: {safe_text(str(error), 2_000)}"
            raise Unreadable("invalid_payload", failure(type(error).__name__, problem)) from error

    @property
    def _owner(self) -> str:
        return f"trigger {self._trigger.id_for(self._job.name)!r}"


def compile_triggers(
    registry: Registry, starting: Starting, *, retry: Retry, timeout: float, breaker: Breaker,
    middleware: tuple[Middleware, ...],
) -> list[Handler]:  # fmt: skip
    """A handler for each trigger of each job; ``retry`` is for events whose class asks for none of its own."""
    handlers: list[Handler] = []
    for job in registry.jobs.values():
        for trigger in job.triggers:
            declaration = registry.triggers[trigger.id_for(job.name)]
            handler = Handler(
                declaration=declaration, signature=_ASKING if job.asks else _SIGNATURE, is_async=True,
                retry=hint_of(declaration) or retry, timeout=timeout, breaker=breaker, middleware=middleware,
            )  # fmt: skip
            handler.function = TriggerCall(job, trigger, starting)
            handlers.append(handler)
    return handlers
