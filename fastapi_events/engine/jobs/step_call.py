"""Calling the function of a step, and recording its result; with a session, in one transaction with its effects."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from fastapi_events.engine.handler_session import HandlerSession
from fastapi_events.engine.injection import Needs, fill
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.run_log import current_step
from fastapi_events.engine.jobs.step_function import StepFunction
from fastapi_events.engine.jobs.tools import JobTools
from fastapi_events.errors import InvalidJob
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.steps import StepRecord

_session_of: ContextVar[str | None] = ContextVar("fastapi_events_session_step", default=None)
"""The step in which this context has a session; set in tasks of its own, so that nothing has to be reset."""


@dataclass(slots=True)
class StepCall:
    """One call of a step's function. ``keep`` records its result, in a transaction if it is given one, or together with
    what the function has published and started. It has ``returned`` when no more than that is left."""

    run: JobRun
    tools: JobTools
    record: StepRecord
    read: StepFunction
    arguments: tuple[Any, ...]
    began: float
    keep: Callable[..., Awaitable[Any]]
    returned: bool = False

    async def make(self) -> Any:
        """What the function returns, as it is read again in later attempts."""
        current_step.set(self.record.name)
        text = await (self._in_session() if self.read.transactional else self._plainly())
        return self.read.result.load(text, owner=self._about)

    async def _plainly(self) -> str:
        sealed: list[Sealed] = []
        async with AsyncExitStack() as stack:
            values = {kind: self.tools.collect(kind, sealed) for kind in self._givers}
            value = await self._result(await fill(self.read.signature, Needs(values, stack)))
        text = self._dumped(value)
        self.returned = True
        await self.keep(self._done(text), sealed=sealed)
        return text

    async def _in_session(self) -> str:
        self._check_place()
        _session_of.set(self.record.name)
        slot = await self.tools.connections.take_for_step()
        try:
            return await self._in_transaction()
        finally:
            slot.release()

    async def _in_transaction(self) -> str:
        transaction = await self.tools.open_transaction()
        problem: BaseException | None = None
        try:
            await transaction.begin_unmarked(self.run.job.timeout)
            session = transaction.session
            session.sync_session.delivery = (self.run, self.tools.givers_on(session))
            async with AsyncExitStack() as stack:
                values: dict[type[Any], Any] = {HandlerSession: session}
                for kind in self._givers:
                    values[kind] = self.tools.bind_giver(session, kind)
                value = await self._result(await fill(self.read.signature, Needs(values, stack)))
            text = self._dumped(value)
            await self.keep(self._done(text), transaction.execute)
            await transaction.commit()
        except BaseException as error:
            problem = error
            raise
        finally:
            await transaction.end(problem)
        return text

    def _check_place(self) -> None:
        """Raise ``InvalidJob`` where so many could wait for each other's connections that none would go on."""
        if (outer := _session_of.get()) is not None:
            raise InvalidJob(
                f"{self._about} takes a HandlerSession inside step {outer!r}, which has one: both would hold a "
                "connection, and be committed apart. Make it a step beside that one, or pass the session on."
            )
        if self.run.job.transactional and self.tools.connections.only_one:
            raise InvalidJob(
                f"{self._about} takes a HandlerSession, and so does its job: that needs two connections at once, and "
                "this process has one for sessions. Set EVENTS_HANDLER_CONNECTIONS, and the pool of your engine, to 2 "
                "or more, or let the job take no session."
            )

    async def _result(self, given: dict[str, Any]) -> Any:
        if self.read.is_async:
            return await self.read.function(*self.arguments, **given)
        value, error = await self.tools.threads.run(functools.partial(self.read.function, *self.arguments, **given))
        if error is not None:
            raise error
        return await value if inspect.isawaitable(value) else value

    def _dumped(self, value: Any) -> str:
        return self.read.result.dump(value, owner=self._about, max_size=self.tools.max_size)

    def _done(self, text: str) -> StepRecord:
        duration = asyncio.get_running_loop().time() - self.began
        return replace(self.record, result=text, duration=duration, secret=self.read.result.secret)

    @property
    def _givers(self) -> frozenset[type[Any]]:
        return self.tools.givers & self.read.signature.wants

    @property
    def _about(self) -> str:
        return f"job {self.run.job.id!r}, step {self.record.name!r}"
