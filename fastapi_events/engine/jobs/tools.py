"""What attempts at runs work with, the same for all of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi_events.engine.handler_transaction import FencedTransaction, FencedTransactions
from fastapi_events.engine.jobs.family import Family
from fastapi_events.engine.jobs.log_keeping import LogKeeping
from fastapi_events.engine.jobs.waits import Waits
from fastapi_events.engine.run import Run
from fastapi_events.engine.slots import Slots
from fastapi_events.engine.threads import Threads
from fastapi_events.errors import InvalidHandler
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.steps import StepRecord, StepStore


@dataclass(frozen=True, slots=True)
class JobTools:
    """``make_giver`` gives what is injected by type into a job, ``bind_giver`` the same on a step's session, and
    ``collect`` what keeps for a step without one what it publishes and starts, to be ``committed`` with its result."""

    steps: StepStore
    family: Family
    waits: Waits
    transactions: FencedTransactions | None
    connections: Slots
    threads: Threads
    givers: frozenset[type[Any]]
    make_giver: Callable[[Run, type[Any]], Any]
    bind_giver: Callable[[Any, type[Any]], Any]
    collect: Callable[[type[Any], list[Sealed]], Any]
    committed: Callable[[Collection[LogPlace]], None]
    max_size: int
    logs: LogKeeping | None = None
    """None where nothing that runs say is kept."""
    again: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """For whoever records a step anew that somebody is in the way of: other bookkeeping has the other connection."""

    async def open_transaction(self) -> FencedTransaction:
        """A transaction with a session."""
        if self.transactions is None:
            raise InvalidHandler("a HandlerSession is asked for, but none can be made.")
        return await self.transactions.open(session=True)

    async def record(self, claim: RunClaim, step: StepRecord, execute: Any, sealed: Sequence[Sealed]) -> Any | None:
        """Record a step, by ``execute`` in somebody's transaction, or with what it has published and started."""
        if not sealed:
            return await self.steps.record(claim, step, execute)
        row = await self.steps.record_with(claim, step, sealed)
        if row is not None:
            self.committed({one.place for one in sealed})
        return row

    def givers_on(self, session: Any) -> Callable[[Run, type[Any]], Any]:
        """What makes those of a step's session, for rows that tell of themselves."""

        def make(_run: Run, kind: type[Any]) -> Any:
            return self.bind_giver(session, kind)

        return make
