"""A batch that PostgreSQL refuses to record: piece by piece, so that only what cannot be recorded dies.

Handlers have run, and would be called again for ever: a settlement that fails is repeated once the lease is over. So it
is halved until the event is found that cannot be recorded. Its deliveries die (``unsettleable``), without the events
that their handlers wanted to publish; everything else is settled, in position order.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import replace

from fastapi_events.engine.delivery_rows import attempt_row, delivery_row
from fastapi_events.engine.dispatch import Dispatch
from fastapi_events.engine.failure import failure_of
from fastapi_events.engine.handlers import Taker
from fastapi_events.engine.infrastructure import describe, is_refusal
from fastapi_events.engine.item import Item
from fastapi_events.model.identity import child_event_id, triggered_run_id
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.cursors import HeldPartition, PartitionBatch, Place, Settlement

logger = logging.getLogger("fastapi_events")

Piece = list[tuple[PartitionBatch, int, int]]
"""Rows from … to … of partitions' shares."""
Record = Callable[[list[tuple[HeldPartition, Place]], frozenset[int], Settlement], Awaitable[None]]

_GAP = 8
"""Ordinals in a row without a child after which a handler is taken to have published no more."""


class RefusedBatch:
    """Settles one batch in pieces.

    ``record`` settles places with what belongs to them, ``holds`` says whether a partition is still this process's,
    ``parked`` is told of each key that a dead delivery parks, with the handler's number.
    """

    def __init__(
        self, dispatch: Dispatch, keep: frozenset[int], *, record: Record, holds: Callable[[PartitionBatch], bool],
        parked: Callable[[int, str], None],
    ) -> None:  # fmt: skip
        self._dispatch, self._whole, self._keep = dispatch, dispatch.settlement, keep
        self._record, self._holds, self._parked = record, holds, parked
        self._items = {(item.partition, item.position): item for item in dispatch.items}
        self._parents: dict[int, tuple[int, str | None]] = {}

    async def settle(self, parts: Collection[PartitionBatch], error: Exception) -> None:
        """Settle everything that can be, and bury the rest; raises what is no refusal."""
        self._find_parents(parts)
        await self._divide([(part, 0, len(part.rows)) for part in parts], error)

    async def _settle(self, piece: Piece) -> None:
        piece = [share for share in piece if self._holds(share[0])]
        if not piece:
            return
        try:
            await self._write(piece, self._left_by(piece))
        except Exception as error:
            if not is_refusal(error):
                raise
            await self._divide(piece, error)

    async def _divide(self, piece: Piece, error: Exception) -> None:
        if len(piece) > 1:
            middle = len(piece) // 2
            halves = [piece[:middle], piece[middle:]]
        else:
            [(part, begin, end)] = piece
            if end - begin < 2:
                return await self._bury(piece, error)
            middle = (begin + end) // 2
            halves = [[(part, begin, middle)], [(part, middle, end)]]
        for half in halves:
            await self._settle(half)
        return None

    async def _write(self, piece: Piece, what: Settlement) -> None:
        unfinished = {part.held.number for part, _, end in piece if end < len(part.rows)}
        places = [(part.held, part.place_behind(end)) for part, _, end in piece]
        await self._record(places, self._keep | unfinished, what)

    async def _bury(self, piece: Piece, error: Exception) -> None:
        """Let die what cannot be recorded of one event: what its children come from, then all that is not committed,
        and at last without parking its key."""
        [(part, begin, end)] = piece
        if begin == end:
            raise error
        item = self._items[part.held.number, part.rows[begin]["position"]]
        left = self._left_by(piece)
        takers = self._dispatch.takers(item, part)
        publishers = {self._parents[id(child)][1] for _, child in left.children}
        open_ones = [taker for taker in takers if not self._is_committed(taker, item, left)]
        guilty = [
            taker for taker in open_ones
            if taker.handler is not None and (taker.handler.id in publishers or None in publishers)
        ]  # fmt: skip
        tries = [(guilty, True), (open_ones, True), (open_ones, False)]
        for dying, parks in tries if guilty else tries[1:]:
            try:
                await self._write(piece, self._without(left, item, dying, error, parks=parks))
            except Exception as problem:
                if not is_refusal(problem):
                    raise
                error = problem
            else:
                return self._tell(item, dying, error, parks=parks)
        raise error

    def _is_committed(self, taker: Taker, item: Item, left: Settlement) -> bool:
        """Whether the handler's effects and mark are in the database already: it succeeded, in its own transaction."""
        if taker.handler is None or not taker.handler.transactional:
            return False
        return all((row["handler_id"], row["position"]) != (taker.number, item.position) for row in left.deliveries)

    def _without(
        self, left: Settlement, item: Item, dying: Iterable[Taker], error: Exception, *, parks: bool
    ) -> Settlement:
        """What an event left behind, but that these handlers' deliveries are dead and have published nothing."""
        outcome = Outcome("dead", reason="unsettleable", failure=replace(failure_of(error), traceback=""))
        dead = {taker.number: taker for taker in dying}
        names = {taker.handler.id for taker in dead.values() if taker.handler is not None}
        deliveries = [row for row in left.deliveries if row["handler_id"] not in dead]
        kept = {row["id"] for row in deliveries}
        what = replace(
            left,
            marks=[mark for mark in left.marks if mark[1] not in dead or mark[4] == "x"],
            handler_sets=[[number for number in numbers if number not in dead] for numbers in left.handler_sets],
            deliveries=deliveries,
            attempts=[row for row in left.attempts if row["delivery_id"] in kept],
            children=[entry for entry in left.children if self._parents[id(entry[1])][1] not in {*names, None}],
        )
        what.successes = [entry for entry in left.successes if what.handler_sets[entry[2]]]
        for taker in dead.values():
            slot = item.slot(ordered=taker.ordered and parks)
            row = delivery_row(item, taker, slot, outcome, "unsettleable")
            row["holds"] = bool(row["holds"]) and parks
            what.deliveries.append(row)
            what.attempts.append(attempt_row(row["id"], 1, outcome) | {"partition": item.partition})
        return what

    def _tell(self, item: Item, dying: Iterable[Taker], error: Exception, *, parks: bool) -> None:
        for taker in dying:
            handler = taker.handler
            name = str(taker.number) if handler is None else handler.id
            logger.error(
                "handler %s: what it left of %s %s cannot be recorded; its delivery is dead (unsettleable), and it has "
                "published nothing: %s", name, item.name, item.id, describe(error),
            )  # fmt: skip
            holds = parks and handler is not None and handler.declaration.on_dead == "park"
            if holds and taker.ordered and item.key is not None:
                self._parked(taker.number, item.key)

    def _left_by(self, piece: Piece) -> Settlement:
        """The part of the batch's settlement that belongs to these rows."""
        spans = {
            part.held.number: (part.rows[begin]["position"], part.rows[end - 1]["position"])
            for part, begin, end in piece
            if end > begin
        }

        def inside(partition: int, position: int) -> bool:
            first, last = spans.get(partition, (1, 0))
            return bool(first <= position <= last)

        whole = self._whole
        deliveries = [row for row in whole.deliveries if inside(row["partition"], row["position"])]
        kept = {row["id"] for row in deliveries}
        return Settlement(
            whole.started_at,
            marks=[mark for mark in whole.marks if inside(mark[0], mark[3])],
            successes=[entry for entry in whole.successes if inside(entry[0], entry[1])],
            handler_sets=whole.handler_sets,
            notes=whole.notes,
            deliveries=deliveries,
            attempts=[row for row in whole.attempts if row["delivery_id"] in kept],
            children=[entry for entry in whole.children if inside(entry[0], self._parents[id(entry[1])][0])],
        )

    def _find_parents(self, parts: Collection[PartitionBatch]) -> None:
        """Find the event, and the handler if it can be told, that each child comes from.

        Their ids say it; a child whose id was given is told by its cause, or is taken for the partition's last event's.
        """
        children = {child.id: child for _, child in self._whole.children}
        with_children = {partition for partition, _ in self._whole.children}
        for part in (part for part in parts if part.held.number in with_children):
            for row in part.rows:
                item = self._items[part.held.number, row["position"]]
                for taker in self._dispatch.takers(item, part):
                    name, ordinal, missed = taker.handler.id if taker.handler else "", 0, 0
                    if (start := children.get(triggered_run_id(item.id, taker.number))) is not None:
                        self._parents[id(start)] = (item.position, name)
                    while name and missed < _GAP:
                        child = children.get(child_event_id(item.id, name, ordinal))
                        ordinal, missed = ordinal + 1, missed + 1 if child is None else 0
                        if child is not None:
                            self._parents[id(child)] = (item.position, name)
        positions = {(item.partition, item.id): item.position for item in self._dispatch.items}
        last = {part.held.number: part.rows[-1]["position"] for part in parts if part.rows}
        for partition, child in self._whole.children:
            if id(child) not in self._parents and partition in last:
                at = positions.get((partition, child.causation_id), last[partition]) if child.causation_id else None
                self._parents[id(child)] = (last[partition] if at is None else at, None)
            self._parents.setdefault(id(child), (0, None))
