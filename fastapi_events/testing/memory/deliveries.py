"""Deliveries and parked keys in memory: what PostgreSQL's tables keep of them, and what its statements do to them.

The rules are the engine's: an outcome, and what it comes to (``key_results.note``, ``dispatch.delivery_row``), is
decided there. Here it is only written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi_events.engine.delivery_rows import attempt_row, delivery_row
from fastapi_events.engine.handlers import Handler, Taker
from fastapi_events.engine.item import Item
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.parked import KeyResult
from fastapi_events.testing.memory.log import Row

Slot = tuple[int, str]
"""A handler's number, and the key (or the lone event) that its queue is about."""


@dataclass(slots=True)
class KeptDelivery:
    """One event for one handler, once it needs a state of its own."""

    handler: Handler
    event: Row
    slot: str
    facts: dict[str, Any]
    """The columns of ``delivery``."""
    created_at: datetime
    changed_at: datetime
    attempts_before: int = 0
    redrives: int = 0
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def id(self) -> UUID:
        return UUID(str(self.facts["id"]))

    @property
    def position(self) -> int:
        position: int = self.event["position"]
        return position

    @property
    def state(self) -> str:
        return str(self.facts["state"])

    def row(self) -> Row:
        """As the retry side reads it."""
        own = ("attempts", "postponed", "reason")
        return self.event | {name: self.facts[name] for name in own} | {"delivery_id": self.facts["id"]}


class Deliveries:
    """Every delivery of one instance, and for each parked key when it is tried next: None is not before an operator."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.kept: dict[tuple[int, int], KeptDelivery] = {}
        self.parked: dict[Slot, datetime | None] = {}
        self.done: set[tuple[int, int]] = set()
        """Handler and position of what succeeded at once."""

    def is_parked(self, handler: Handler, item: Item) -> bool:
        """Whether the event must wait behind an earlier one of its key, for this handler."""
        return handler.ordered and item.key is not None and (handler.number, item.key) in self.parked

    def enter(
        self, taker: Taker, handler: Handler, item: Item, event: Row, outcome: Outcome | None, reason: str
    ) -> None:
        """Write down a delivery that waits, is dead or was discarded; its key waits with it if it holds that."""
        now, slot = self._now(), item.slot(ordered=taker.ordered)
        facts = delivery_row(item, taker, slot, outcome, reason)
        delivery = KeptDelivery(handler, event, slot, facts, now, now)
        if outcome is not None:
            delivery.history.append(attempt_row(facts["id"], 1, outcome) | {"finished_at": now})
        self.kept[taker.number, item.position] = delivery
        if facts["holds"] and (taker.number, slot) not in self.parked:
            waits = facts["state"] == "waiting" and reason != "no_handler"
            self.parked[taker.number, slot] = (
                now + timedelta(seconds=outcome.delay if outcome else 0) if waits else None
            )

    def next_due(self) -> Slot | None:
        """The parked key that has been due for longest; None if none is due."""
        now = self._now()
        due = [(at, slot) for slot, at in self.parked.items() if at is not None and at <= now]
        return min(due)[1] if due else None

    def next_time(self) -> datetime | None:
        """When the next key is due."""
        return min((at for at in self.parked.values() if at is not None), default=None)

    def queue(self, slot: Slot) -> list[KeptDelivery]:
        """What waits for a key, in position order.

        There is one dead delivery that holds it at most, and while there is, the key is not due: one process alone
        works on it, and nothing comes with an earlier position than what has been read.
        """
        return [one for one in self._of(slot) if one.state == "waiting"]

    def settle(self, result: KeyResult) -> None:
        """Write down what became of a key, and when it is tried next."""
        now, number = self._now(), result.claim.handler_id
        for facts in result.results:
            delivery = self.kept[number, facts["position"]]
            postponed = delivery.facts["postponed"] + facts["postponed"]
            told = {
                name: facts[name] or delivery.facts[name] for name in ("error_type", "error_message", "fingerprint")
            }
            delivery.facts |= facts | told | {"postponed": postponed}
            delivery.changed_at = now
        for attempt in result.attempts:
            delivery = next(one for one in self.kept.values() if one.facts["id"] == attempt["delivery_id"])
            delivery.history.append(attempt | {"finished_at": now})
        slot = (number, result.claim.slot)
        if result.drained:
            self.parked.pop(slot, None)
        else:
            self.parked[slot] = None if result.delay is None else now + timedelta(seconds=result.delay)

    def redrive(self, ids: Iterable[UUID]) -> list[UUID]:
        """Put those that are dead back to waiting, with a fresh budget of attempts, at their place; returns them."""
        changed = self._dead(ids)
        for one in changed:
            one.attempts_before, one.redrives = one.facts["attempts"], one.redrives + 1
            one.facts |= {"state": "waiting", "reason": "redrive", "holds": False}
            one.changed_at = self.parked[one.handler.number, one.slot] = self._now()
        return [one.id for one in changed]

    def discard(self, ids: Iterable[UUID], note: str) -> list[UUID]:
        """Give those that are dead up for good; what waits behind them becomes due."""
        changed = self._dead(ids)
        for one in changed:
            one.facts |= {"state": "discarded", "note": note}
            one.changed_at = now = self._now()
            slot = (one.handler.number, one.slot)
            if slot in self.parked and self.parked[slot] is None:
                self.parked[slot] = now
        return [one.id for one in changed]

    def by_id(self, delivery_id: UUID) -> KeptDelivery | None:
        """One delivery."""
        return next((one for one in self.kept.values() if one.id == delivery_id), None)

    def behind(self, delivery: KeptDelivery) -> int:
        """How many wait for a dead delivery's key."""
        if not delivery.handler.ordered or delivery.handler.declaration.on_dead != "park":
            return 0
        return sum(one.state == "waiting" for one in self._of((delivery.handler.number, delivery.slot)))

    def _of(self, slot: Slot) -> list[KeptDelivery]:
        number, key = slot
        mine = [one for one in self.kept.values() if one.handler.number == number and one.slot == key]
        return sorted(mine, key=lambda one: one.position)

    def _dead(self, ids: Iterable[UUID]) -> Sequence[KeptDelivery]:
        found = [self.by_id(one) for one in dict.fromkeys(ids)]
        return [one for one in found if one is not None and one.state == "dead"]
