"""The events of one partition for one batch handler: in lists while that goes well, one by one where it does not.

A list that fails has spent no attempt of anybody: its events are handed over again, each as a list of one, and what
that comes to is theirs. Those of a list that cannot be decoded are taken out alone, since the handler was not called.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from fastapi_events.engine.away import Away
from fastapi_events.engine.handlers import Handler, HandlerPlan, Taker
from fastapi_events.engine.item import Item
from fastapi_events.engine.item_list import ItemList
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.cursors import PartitionBatch

if TYPE_CHECKING:
    from fastapi_events.engine.dispatch import Dispatch

logger = logging.getLogger("fastapi_events")


class ListChain:
    """What one batch of the lane holds of one partition for one batch handler."""

    __slots__ = ("_alone", "_dispatch", "_handled", "_handler", "_queue", "_redelivered", "_size", "_taker")

    def __init__(self, dispatch: Dispatch, taker: Taker, handler: Handler, *, redelivered: bool) -> None:
        self._dispatch, self._taker, self._handler, self._redelivered = dispatch, taker, handler, redelivered
        self._size = handler.declaration.batch or 1
        self._queue: deque[Item] = deque()
        self._alone: set[int] = set()
        self._handled: set[int] = set()

    def add(self, item: Item) -> None:
        """Add the next event."""
        self._queue.append(item)

    def next(self) -> Run | None:
        items: list[Item] = []
        while self._queue and len(items) < self._size:
            item = self._queue[0]
            if self._hold_back(item):
                self._queue.popleft()
                continue
            if items and not self._go_together(items[0], item):
                break
            items.append(self._queue.popleft())
        if not items:
            return None
        again = any(item.position in self._handled for item in items)
        return Run(self._handler, ItemList(items), redelivered=self._redelivered or again)

    def _hold_back(self, item: Item) -> bool:
        """Whether the event is not to be given to the handler now; it is parked then."""
        dispatch, taker = self._dispatch, self._taker
        if dispatch.is_parked(taker, item):
            dispatch.park(item, taker, None, "key_blocked")
        elif item.version > taker.reads and (needs := item.versions.oldest) > taker.reads:
            dispatch.park(item, taker, None, "no_handler", needs=needs)
        elif (why := dispatch.gates.closed.get(taker.number)) is not None:
            dispatch.park(item, taker, None, why)
        else:
            return False
        return True

    def _go_together(self, first: Item, item: Item) -> bool:
        alone = first.position in self._alone or item.position in self._alone
        return not alone and bool(first.row["tenant_id"] == item.row["tenant_id"])

    def settle(self, run: Run, outcome: Outcome) -> None:
        item = run.item
        if not isinstance(item, ItemList):
            return
        if outcome.kind == "done" or outcome.kind == "duplicate":
            if self._handler.failed_at:
                self._dispatch.gates.note(self._handler, outcome)
            for each in item.all_items:
                self._dispatch.succeeded(each, (self._taker.number,))
            if outcome.kind == "done" and not outcome.committed:
                self._note_marks(item)
        elif item.many:
            self._part(item, outcome)
        else:
            self._dispatch.failed(run, self._taker, outcome)
            if outcome.kind == "interrupted":
                self._interrupt_rest(outcome)

    def detach(self, away: Away) -> None:
        """Leave a delivery for each event of the list, and for each key a share of the attempt that holds it."""
        shares: dict[str, Away] = {}
        for item in away.run.item.all_items if isinstance(away.run.item, ItemList) else ():
            slot = item.slot(ordered=self._taker.ordered)
            if slot not in shares:
                shares[slot] = away.share() if shares else away
            self._dispatch.detach(item, self._taker, shares[slot])

    def release(self) -> None:
        while (run := self.next()) is not None:
            for item in run.item.items if isinstance(run.item, ItemList) else ():
                self._leave(item, Outcome("interrupted"))

    def _part(self, failed: ItemList, outcome: Outcome) -> None:
        """Have the events of a list that failed handed over one by one."""
        again = failed.unreadable or failed.all_items
        if not failed.unreadable:
            self._handled.update(item.position for item in again)
            self._dispatch.gates.note(self._handler, outcome)
            cause = outcome.failure.error_type if outcome.failure is not None else outcome.kind
            logger.info(
                "handler %s: a list of %d events, positions %d to %d, has failed (%s); they are handled one by one",
                self._handler.id, len(again), again[0].position, again[-1].position, cause,
            )  # fmt: skip
        self._alone.update(item.position for item in again)
        self._queue.extendleft(reversed(failed.all_items))

    def _interrupt_rest(self, outcome: Outcome) -> None:
        """What stopped one event was not its own: the rest of its list need not meet it one after the other."""
        while self._queue and self._queue[0].position in self._alone:
            item = self._queue.popleft()
            if not self._hold_back(item):
                self._leave(item, outcome)

    def _leave(self, item: Item, outcome: Outcome) -> None:
        self._dispatch.failed(Run(self._handler, ItemList([item])), self._taker, outcome)

    def _note_marks(self, item: ItemList) -> None:
        if self._handler.declaration.idempotency_key is not None:
            partition = item.partition
            marks = ((partition, self._taker.number, key, position, "d") for key, position in item.known_marks)
            self._dispatch.settlement.marks.extend(marks)


def list_chains(
    dispatch: Dispatch,
    shares: Mapping[int, PartitionBatch],
    plan: HandlerPlan,
    rescued: Collection[int],
    cut_up: Collection[int],
) -> list[ListChain]:
    """The chains of the batch handlers: one for each partition and handler that has events there.

    None for the partitions ``cut_up``, of which every event is run alone.
    """
    chains: dict[tuple[int, int], ListChain] = {}
    for item in dispatch.items:
        if item.partition in cut_up:
            continue
        takers = plan.takers_of(item.name)
        for taker in takers.of(takers.lists, item.xid, shares[item.partition].oldest_seen) if takers.lists else ():
            at = item.partition, taker.number
            if at not in chains and taker.handler is not None:
                chains[at] = ListChain(dispatch, taker, taker.handler, redelivered=item.partition in rescued)
            chains[at].add(item)
    return list(chains.values())
