"""What a batch handler is given: a list of events, for the executor as if it were one.

Its first event stands for it: in what events published by the handler inherit, in the ids that these get, in the log.
That is unambiguous: an event is the first of a successful list once at most, since all of a list are marked with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.item import Item
from fastapi_events.engine.stored_versions import Unreadable
from fastapi_events.model.delivery import Delivery
from fastapi_events.model.registry import Registry

Mark = tuple[UUID, int]
"""The key of a processing mark, and its event's position."""


class ItemList(Item):
    """Consecutive events of one partition and tenant, in order, for one handler; also a single one, as a list of it."""

    __slots__ = ("_events", "all_items", "items", "known_marks", "unreadable")

    def __init__(self, items: Sequence[Item]) -> None:
        self.all_items = tuple(items)
        self.items = list(items)
        """Those that the handler is given: all but what has been handled before."""
        self.known_marks: list[Mark] = []
        self.unreadable: list[Item] = []
        """Those that could not be decoded: the handler was not called for their sake."""
        self._events: list[Any] = []
        self._stand_for(self.items)

    def _stand_for(self, items: Sequence[Item]) -> None:
        first = items[0]
        super().__init__(first.row, lane=first.lane, version=first.version, xid=first.xid)
        deepest = max(item.row["depth"] for item in items)
        if deepest > first.row["depth"]:
            self.row = {**first.row, "depth": deepest}

    @property
    def many(self) -> bool:
        return len(self.all_items) > 1

    def event_for(self, handler: Handler, registry: Registry) -> Any:
        """The list that the handler is called with; raises ``Unreadable`` if one of its events cannot be given."""
        problem: Unreadable | None = None
        self._events = []
        for item in self.items:
            try:
                self._events.append(item.event_for(handler, registry))
            except Unreadable as error:
                self.unreadable.append(item)
                problem = problem or error
        if problem is not None:
            raise problem
        return self._events

    def mark(self, handler: Handler, event: Any) -> UUID:
        return self.items[0].mark(handler, event[0])

    def idempotency_key(self, handler: Handler, event: Any) -> str:
        return self.items[0].idempotency_key(handler, event[0])

    def marks(self, handler: Handler) -> list[Mark]:
        """The marks of its events; of several with one key the first is the one that counts."""
        keys: dict[UUID, int] = {}
        for item, event in zip(self.items, self._events, strict=True):
            keys.setdefault(item.mark(handler, event), item.position)
        self.known_marks = list(keys.items())
        return self.known_marks

    def keep(self, handler: Handler, taken: Collection[UUID]) -> bool:
        """Leave out of the list, where it is, what has been handled before or has another's key; False: all of it."""
        open_ones, kept = set(taken), list[tuple[Item, Any]]()
        for item, event in zip(self.items, self._events, strict=True):
            key = item.mark(handler, event)
            if key in open_ones:
                open_ones.discard(key)
                kept.append((item, event))
        self.items = [item for item, _ in kept]
        self._events[:] = [event for _, event in kept]
        if kept:
            self._stand_for(self.items)
        return bool(kept)

    def deliveries(
        self, handler: Handler, attempt: int, *, redelivered: bool, replay: UUID | None = None
    ) -> list[Delivery]:
        """What the handler may know of its deliveries, one for each event of the list."""
        pairs = zip(self.items, self._events, strict=True)
        return [item.delivery(handler, event, attempt, redelivered=redelivered, replay=replay) for item, event in pairs]


def as_given(handler: Handler, item: Item) -> Item:
    """One event as the handler takes it: for a batch handler as a list of one."""
    return item if handler.declaration.batch is None else ItemList([item])
