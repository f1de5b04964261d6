"""Attempts that outlive their budget: their lane goes on, and they go on beside it.

Such an attempt leaves a waiting delivery in its batch's settlement, whose key is parked under a lease of its own: what
follows of that key waits for it, for this handler only. The attempt itself is the same: its time-out, its transaction
and its connection go on. Once it ends, its outcome is settled with the key, fenced by the key's token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from fastapi_events.engine.attempt_clock import AttemptClock
from fastapi_events.engine.away import Away
from fastapi_events.engine.failure import failure_of
from fastapi_events.engine.gates import Gates
from fastapi_events.engine.infrastructure import describe, is_refusal
from fastapi_events.engine.key_results import note
from fastapi_events.engine.list_results import shares_of
from fastapi_events.engine.outcomes import given_up, interrupted
from fastapi_events.engine.patience import patiently
from fastapi_events.engine.run import Run
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.parked import KeyClaim, KeyResult, ParkedKeyStore

logger = logging.getLogger("fastapi_events")


class Detached:
    """The detached attempts of one process: each watched to its end, then settled with its key."""

    def __init__(
        self, store: ParkedKeyStore, gates: Gates, *, committed: Callable[[Collection[LogPlace]], None],
        keys_due: Callable[[], None], lost: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._gates = gates
        self._store, self._committed, self._keys_due, self._lost = store, committed, keys_due, lost
        self._cut_off = asyncio.Event()
        self._settling: dict[asyncio.Task[None], KeyClaim] = {}
        self._watched: set[asyncio.Task[Outcome]] = set()
        self.taken = 0
        """How many attempts have been detached so far."""

    @property
    def claims(self) -> list[KeyClaim]:
        """The keys whose leases are to be extended."""
        return list(self._settling.values())

    def take(self, run: Run, task: asyncio.Task[None] | None, result: asyncio.Future[Outcome]) -> Away:
        """Watch an attempt from now on: it ends by itself, at its time-out, or when the process stops."""
        self.taken += 1
        away = Away(run, task, result)
        away.watch = asyncio.create_task(self._watch(away))
        self._watched.add(away.watch)
        away.watch.add_done_callback(self._watched.discard)
        return away

    def recorded(self, away: Away) -> None:
        """Its delivery is in the database: settle it when it ends."""
        if away.claim is not None:
            task = asyncio.create_task(self._finish(away, away.claim))
            self._settling[task] = away.claim
            task.add_done_callback(self._finished)

    def forget(self, away: Away) -> None:
        """Its key is not held by it: it is cut off and counts for nothing, and the event is delivered again."""
        away.run.outcome = away.run.outcome or interrupted("its delivery or its key is not its own")
        away.give_up()
        if away.watch is not None:
            away.watch.cancel()

    async def drain(self) -> int:
        """Wait until every attempt has been settled; returns their number."""
        count = 0
        while self._settling:
            count += len(self._settling)
            await asyncio.wait(list(self._settling))
        return count

    async def stop(self, grace: float = 5.0) -> None:
        """Let them finish for ``grace`` seconds, then interrupt them: another process takes their deliveries."""
        await self._all_ended(grace)
        self._cut_off.set()
        await self._all_ended(5.0)

    async def _all_ended(self, seconds: float) -> None:
        """Wait until none is left to be watched or settled, but not for longer."""
        now = asyncio.get_running_loop().time
        until = now() + seconds
        while (left := {*self._watched, *self._settling}) and now() < until:
            await asyncio.wait(left, timeout=until - now())

    async def _watch(self, away: Away) -> Outcome:
        loop, run = asyncio.get_running_loop(), away.run
        began = loop.time() if run.began is None else run.began
        cut_off, over = asyncio.create_task(self._cut_off.wait()), asyncio.create_task(AttemptClock(run).over())
        ends: set[asyncio.Future[Any]] = {away.result, cut_off, over}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stopped = cut_off.done()
        cut_off.cancel()
        over.cancel()
        if away.result.done():
            return run.outcome or replace(away.result.result(), duration=loop.time() - began)
        end = interrupted("the process stopped before the handler was done") if stopped else given_up(run)
        run.outcome = outcome = run.outcome or end
        away.give_up()
        return outcome

    async def _finish(self, away: Away, claim: KeyClaim) -> None:
        if away.watch is None:
            return
        if not away.run.item.many and not await patiently(lambda: self._store.holds(claim)):
            # Somebody had the key already, such as an operator's redrive: the event is handled behind that, not beside.
            self.forget(away)
            self._lost(1)
            return
        outcome = await away.watch
        if not away.is_share:
            self._gates.note(away.run.handler, outcome)
        result = self._result(away, claim, outcome)
        try:
            settled = await patiently(lambda: self._store.settle(result))
        except Exception as error:
            if not is_refusal(error):
                raise
            # What the database refuses it would refuse for ever.
            result = self._result(away, claim, Outcome("dead", reason="unsettleable", failure=failure_of(error)))
            settled = await patiently(lambda: self._store.settle(result))
        if not settled:
            self._lost(1)
        elif result.children:
            self._committed({child.place for child in result.children})
        self._keys_due()

    def _result(self, away: Away, claim: KeyClaim, outcome: Outcome) -> KeyResult:
        """A fresh key has as many versions as rows: if more has been parked behind them, it stays parked, and due."""
        result = KeyResult(claim, version=len(away.rows), drained=True)
        for row, run, each in shares_of(away, outcome):
            if not note(result, row, run, each):
                break
        return result

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._settling.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("detached attempts: one could not be settled (%s); it is repeated", describe(error))
