"""The drain of events on memory: one event after the other, in the order of the log, and then what is due again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fastapi_events.engine.broadcasting.feed import Feed, PublishingRuns
from fastapi_events.engine.delivery_rows import reason_of
from fastapi_events.engine.handlers import Handler, HandlerPlan, Taker
from fastapi_events.engine.item import Item
from fastapi_events.engine.item_list import as_given
from fastapi_events.engine.key_results import note
from fastapi_events.engine.report import report
from fastapi_events.engine.run import Run
from fastapi_events.errors import NotOnMemory
from fastapi_events.model.lane import AUDIT
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.run_start import Sealed
from fastapi_events.store.parked import KeyClaim, KeyResult
from fastapi_events.testing.memory.attempts import Attempts
from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.deliveries import Deliveries, KeptDelivery, Slot
from fastapi_events.testing.memory.held_back import settle
from fastapi_events.testing.memory.log import MemoryLog, Row
from fastapi_events.testing.memory.marks import MemoryMarks


class MemoryDrain:
    """Handles what is there. ``check`` raises ``NotOnMemory`` for a handler that can be given no event here."""

    def __init__(
        self, log: MemoryLog, deliveries: Deliveries, marks: MemoryMarks, clock: Clock, plan: HandlerPlan,
        attempts: Attempts, check: Callable[[Handler], None], *, lanes: frozenset[int], read: int,
        broadcast: Sequence[Handler], told: Callable[[], None],
    ) -> None:  # fmt: skip
        self._log, self._deliveries, self._marks, self._clock = log, deliveries, marks, clock
        self._plan, self._attempts, self._check = plan, attempts, check
        self._lanes, self.read, self._heard = lanes, read, len(log.events)
        runs = PublishingRuns(attempts.executor, self._append)
        self._feeds = [Feed(handler, runs, 1, failed=_count_nowhere, skipped=_count_nowhere) for handler in broadcast]
        self._told, self._one_at_a_time = told, asyncio.Lock()
        self._refused: list[NotOnMemory] = []

    async def drain(self) -> int:
        """Handle until nothing is due; returns the events read, and the keys tried again.

        Raises ``NotOnMemory`` for a handler that memory cannot call, after everything else has been handled.
        """
        async with self._one_at_a_time:
            handled = 0
            while await self._step():
                handled += 1
                self._told()
            refused, self._refused = self._refused, []
        if refused:
            raise refused[0]
        return handled

    async def _step(self) -> bool:
        settle()
        self._log.append_due()
        if self.read < len(self._log.events):
            event = self._log.events[self.read]
            self.read += 1
            await self._broadcast(event)
            if event["lane"] != AUDIT and event["lane"] in self._lanes:
                await self._handle(event)
            return True
        slot = self._deliveries.next_due()
        if slot is None:
            return False
        await self._redeliver(slot)
        return True

    async def stop(self) -> None:
        """Call broadcast handlers for nothing more."""
        for feed in self._feeds:
            feed.stop_starting()
            await feed.end()

    async def _broadcast(self, event: Row) -> None:
        """Call the broadcast handlers, which hear of what was committed since this instance was started."""
        item = self._item(event)
        for feed in self._feeds if item.position > self._heard else ():
            if feed.takes(item.lane, item.name):
                feed.put(item)
                feed.begin()
                await feed.rest()

    async def _append(self, children: tuple[Sealed, ...]) -> None:
        self._log.append_now(children)

    async def _handle(self, event: Row) -> None:
        item = self._item(event)
        for taker in (takers := self._plan.takers_of(item.name)).of(takers.all, None, 0):
            handler = taker.handler
            if handler is None:
                continue
            try:
                self._check(handler)
            except NotOnMemory as error:
                self._refused.append(error)
                continue
            if self._deliveries.is_parked(handler, item):
                self._deliveries.enter(taker, handler, item, event, None, "key_blocked")
            elif item.version > taker.reads and item.versions.oldest > taker.reads:
                self._deliveries.enter(taker, handler, item, event, None, "no_handler")
            else:
                await self._attempt(taker, handler, item, event)

    async def _attempt(self, taker: Taker, handler: Handler, item: Item, event: Row) -> None:
        run = Run(handler, as_given(handler, item))
        outcome = await self._attempts.make(run)
        if outcome.kind not in ("done", "duplicate"):
            report(run, outcome)
            self._deliveries.enter(taker, handler, item, event, outcome, reason_of(outcome))
            return
        self._deliveries.done.add((taker.number, item.position))
        if run.mark is not None and outcome.kind == "done" and not outcome.committed:
            self._marks.add(taker.number, run.mark)
        if outcome.children:
            self._log.append_now(outcome.children)

    async def _redeliver(self, slot: Slot) -> None:
        """Run the queue of a key from its head, until one of its deliveries holds the others up."""
        number, key = slot
        handler = self._plan.by_number[number]
        result = KeyResult(KeyClaim(number, key, 0), 0, drained=True)
        for delivery in self._deliveries.queue(slot):
            run, outcome = await self._again(handler, delivery)
            if not note(result, delivery.row(), run, outcome):
                break
        self._deliveries.settle(result)
        for mark, _ in result.marks:
            self._marks.add(number, mark)
        if result.children:
            self._log.append_now(result.children)

    async def _again(self, handler: Handler, delivery: KeptDelivery) -> tuple[Run, Outcome]:
        row = delivery.row()
        used = row["attempts"] - delivery.attempts_before
        run = Run(handler, as_given(handler, self._item(row)), used + 1, redelivered=row["attempts"] > 0)
        return run, await self._attempts.make(run)

    def _item(self, row: Row) -> Item:
        # A handler reads the wall clock: what the test's clock was moved ahead by has passed since the publishing.
        shown = row | {"published_at": row["published_at"] - self._clock.ahead}
        return Item(shown, lane=row["lane"], version=row["version"], xid=None)


def _count_nowhere(_: int = 1) -> None:
    """The log tells of what a broadcast handler did not hear; PostgreSQL's processes count it too."""
