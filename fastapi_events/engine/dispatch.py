"""From a claimed batch to attempts, and from their outcomes to one settlement.

Events of one ordering key form a chain. For each handler of each event: an event published before the handler existed
is not for it; a handler that only another process has leaves a waiting delivery; behind a parked key the event is
parked too, for that handler only; one of a newer version than the handler's class here waits for a process of the next
release; everything else is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from fastapi_events.engine.away import Away
from fastapi_events.engine.delivery_rows import attempt_row, delivery_row, reason_of, tombstone_of
from fastapi_events.engine.gates import Gates
from fastapi_events.engine.handlers import HandlerPlan, Taker
from fastapi_events.engine.item import Item
from fastapi_events.engine.list_chain import ListChain, list_chains
from fastapi_events.engine.report import report
from fastapi_events.engine.run import Run
from fastapi_events.engine.suspicion import Suspect
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.cursors import Batch, PartitionBatch, Settlement

RecordSuccess = Literal["batch", "each", "none"]
ParkedKeys = dict[tuple[int, str], int]

REMEMBERED_BATCHES = 3
"""For how many batches a key parked here is remembered: one may have been read before the settling that parked it."""


class Dispatch:
    """One batch on its way: ``chains()`` are to be worked through, then ``settlement`` holds what they left behind."""

    def __init__(
        self,
        batch: Batch,
        plan: HandlerPlan,
        lane: int,
        *,
        record_success: RecordSuccess,
        parked: ParkedKeys,
        number: int,
        lease: float,
        gates: Gates,
    ) -> None:
        self.gates = gates
        self._batch, self._plan, self._lane, self._lease = batch, plan, lane, lease
        self._record_success: RecordSuccess = record_success
        self._parked, self._number = parked, number
        self._sets: dict[tuple[int, ...], int] = {}
        self.settlement = Settlement(datetime.now(UTC))
        self.items: list[Item] = []
        self.away: list[Away] = []
        self.suspects: list[Suspect] = []
        self._rescued: set[int] = set()
        self._chains: list[LaneChain | ListChain] = []
        self._build()

    def chains(self) -> Iterable[LaneChain | ListChain]:
        """The chains, in the order of their first events; behind them those of batch handlers."""
        return self._chains

    def _build(self) -> None:
        by_key: dict[str, LaneChain] = {}
        chains, cut_up = self._chains, set[int]()
        for share in self._batch.partitions.values():
            redelivered = share.held.doubtful > 0
            share.held.doubtful -= redelivered
            suspicious = redelivered and share.held.suspicious
            if redelivered:
                self._rescued.add(share.held.number)
            if suspicious:
                cut_up.add(share.held.number)
            for row in share.rows:
                item = Item(row, lane=self._lane, version=row["version"], xid=row["xid"])
                self.items.append(item)
                key = item.key
                chain = by_key.get(key) if key is not None else None
                if chain is None:
                    chain = LaneChain(self, share, redelivered, suspicious)
                    chains.append(chain)
                    if key is not None:
                        by_key[key] = chain
                chain.items.append(item)
        if self._plan.has_lists:
            chains.extend(list_chains(self, self._batch.partitions, self._plan, self._rescued, cut_up))

    def takers(self, item: Item, share: PartitionBatch, *, in_lists: bool = True) -> tuple[Taker, ...]:
        """The handlers that this event is meant for; without ``in_lists`` those that are given one event at a time."""
        takers = self._plan.takers_of(item.name)
        return takers.of(takers.all if in_lists else takers.singles, item.xid, share.oldest_seen)

    def is_parked(self, taker: Taker, item: Item) -> bool:
        """Whether the event must wait behind an earlier one of its key, for this handler."""
        if not taker.ordered or item.key is None:
            return False
        parked = item.row["parked"]
        return (parked is not None and taker.number in parked) or (taker.number, item.key) in self._parked

    def succeeded(self, item: Item, numbers: tuple[int, ...]) -> None:
        """Record that these handlers are done with the event."""
        if self._record_success == "batch":
            number = self._sets.get(numbers)
            if number is None:
                number = self._sets[numbers] = len(self._sets)
                self.settlement.handler_sets.append(list(numbers))
            self.settlement.successes.append((item.partition, item.position, number))
        elif self._record_success == "each":
            marks = self.settlement.marks
            marks.extend((item.partition, handler, item.id, item.position, "d") for handler in numbers)

    def skipped(self, item: Item, taker: Taker, why: str) -> None:
        """Record that this handler had nothing to do with the event: always, for nothing else would tell."""
        left, key = self.settlement, (-taker.number,)
        number = self._sets.get(key)
        if number is None:
            number = self._sets[key] = len(self._sets)
            left.handler_sets.append([taker.number])
            left.notes[number] = why
        left.successes.append((item.partition, item.position, number))

    def mark(self, item: Item, taker: Taker, key: UUID, outcome: str = "d") -> None:
        """Write a processing mark with the settlement."""
        self.settlement.marks.append((item.partition, taker.number, key, item.position, outcome))

    def park(
        self, item: Item, taker: Taker, outcome: Outcome | None, reason: str, tombstone: UUID | None = None,
        *, needs: int = 0,
    ) -> None:  # fmt: skip
        """Leave a delivery behind: waiting, dead or discarded; an ordered handler's key waits with it.

        ``tombstone`` is the key of the mark that keeps an attempt that was given up from committing a dead event;
        ``needs`` is the version that a process must read to take it.
        """
        slot = item.slot(ordered=taker.ordered)
        row = delivery_row(item, taker, slot, outcome, reason) | {"tombstone": tombstone, "needs": needs}
        self.settlement.deliveries.append(row)
        if tombstone is not None:
            self.mark(item, taker, tombstone, "x")
        if outcome is not None:
            self.settlement.attempts.append(attempt_row(row["id"], 1, outcome) | {"partition": item.partition})
        if row["holds"] and taker.ordered and item.key is not None:
            self._parked[(taker.number, item.key)] = self._number

    def suspect(self, item: Item, taker: Taker, needs: int) -> None:
        """Leave a delivery behind that is run alone."""
        self.park(item, taker, None, "crash_suspect", needs=needs)
        self.suspects.append((taker.number, item.name, item.id))

    def failed(self, run: Run, taker: Taker, outcome: Outcome) -> None:
        """Take note of an attempt that did not succeed."""
        report(run, outcome)
        self.gates.note(run.handler, outcome)
        self.park(run.item, taker, outcome, reason_of(outcome), tombstone_of(run, outcome))

    def detach(self, item: Item, taker: Taker, away: Away) -> None:
        """Leave a delivery behind for an attempt that goes on, whose key is parked under its own lease meanwhile."""
        row = delivery_row(item, taker, item.slot(ordered=taker.ordered), None, "detached")
        row |= {"tombstone": None, "delay": self._lease, "token": away.token}
        self.settlement.deliveries.append(row)
        if away.enter(taker.number, row, item):
            self.away.append(away)
        if taker.ordered and item.key is not None:
            self._parked[(taker.number, item.key)] = self._number


class LaneChain:
    """The events of one ordering key in one batch, each for each of its handlers."""

    __slots__ = ("_current", "_dispatch", "_done", "_redelivered", "_share", "_steps", "items")

    def __init__(self, dispatch: Dispatch, share: PartitionBatch, redelivered: bool, suspicious: bool) -> None:
        self._dispatch, self._share, self._redelivered = dispatch, share, redelivered
        self.items: list[Item] = []
        self._done: list[int] = []
        self._current: Taker | None = None
        self._steps = self._cut_up() if suspicious else self._make_steps()

    def next(self) -> Run | None:
        return next(self._steps, None)

    def settle(self, run: Run, outcome: Outcome) -> None:
        taker = self._current
        if taker is None:
            return
        kind = outcome.kind
        if kind == "done" or kind == "duplicate":
            if run.handler.failed_at:
                self._dispatch.gates.note(run.handler, outcome)
            if not outcome.committed:
                self._note_success(run, taker, outcome)
            if outcome.note is None:
                self._done.append(taker.number)
            else:
                self._dispatch.skipped(run.item, taker, outcome.note)
            return
        self._dispatch.failed(run, taker, outcome)

    def detach(self, away: Away) -> None:
        if self._current is not None:
            self._dispatch.detach(away.run.item, self._current, away)

    def release(self) -> None:
        for run in self._steps:
            self.settle(run, Outcome("interrupted"))

    def _note_success(self, run: Run, taker: Taker, outcome: Outcome) -> None:
        if run.mark is not None and outcome.kind == "done":
            self._dispatch.mark(run.item, taker, run.mark)
        if outcome.children:
            partition = run.item.partition
            self._dispatch.settlement.children.extend((partition, child) for child in outcome.children)

    def _make_steps(self) -> Iterator[Run]:
        dispatch = self._dispatch
        for item in self.items:
            for taker in dispatch.takers(item, self._share, in_lists=False):
                if taker.handler is None:
                    dispatch.park(item, taker, None, taker.absent)
                elif dispatch.is_parked(taker, item):
                    dispatch.park(item, taker, None, "key_blocked")
                elif item.version > taker.reads and (needs := item.versions.oldest) > taker.reads:
                    dispatch.park(item, taker, None, "no_handler", needs=needs)
                elif dispatch.gates.closed and (why := dispatch.gates.closed.get(taker.number)) is not None:
                    dispatch.park(item, taker, None, why)
                else:
                    self._current = taker
                    yield Run(taker.handler, item, redelivered=self._redelivered)
            if self._done:
                dispatch.succeeded(item, tuple(self._done))
                self._done = []

    def _cut_up(self) -> Iterator[Run]:
        """Run nothing: each event leaves deliveries that are run alone, for one of them may have ended processes."""
        dispatch = self._dispatch
        for item in self.items:
            for taker in dispatch.takers(item, self._share):
                needs = item.versions.oldest if taker.handler is not None and item.version > taker.reads else 0
                dispatch.suspect(item, taker, needs if needs > taker.reads else 0)
        yield from ()
