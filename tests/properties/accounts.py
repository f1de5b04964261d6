"""What the model knows: events, attempts, and what is recorded of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_events import Event
from tests.properties.application import HANDLERS, MAX_ATTEMPTS, TIMEOUT, Act, Rules
from tests.properties.leases import Leases
from tests.properties.readings import DeliveryRow, Reading

if TYPE_CHECKING:
    from tests.properties.process import Process


@dataclass(eq=False)
class Attempt:
    """One call of a handler, as the handler saw it.

    ``act`` is what it ended with, None while it runs; ``began`` is from when on its time is counted.
    """

    process: Process
    handler: str
    number: int
    attempt: int
    began: float
    act: Act | None = None


@dataclass
class Published:
    """An event, and at which tick it became visible in the log."""

    kind: type[Event]
    key: str
    state: str = "open"
    visible_at: int | None = None


class Accounts:
    """Answers from the newest reading, and from what handlers have been seen to do."""

    def __init__(self) -> None:
        self.handlers: dict[str, int] = {}
        self.events: dict[int, Published] = {}
        self.attempts: list[Attempt] = []
        self.reading = Reading({}, [], {}, frozenset())
        self.leases = Leases()
        self.let_pass: set[tuple[str, int]] = set()

    def state(self, handler: str, number: int, reading: Reading | None = None) -> str:
        """What is recorded of an event for a handler: pending, waiting, done, dead or discarded."""
        reading = reading or self.reading
        position = reading.events.get(number)
        if position is None:
            return "unseen"
        row = self.row(handler, number, reading)
        if row is not None:
            return row.state
        return "done" if (self.handlers[handler], position) in reading.successes else "pending"

    def row(self, handler: str, number: int, reading: Reading | None = None) -> DeliveryRow | None:
        reading = reading or self.reading
        return reading.deliveries.get((self.handlers[handler], reading.events.get(number, -1)))

    def dead(self) -> list[DeliveryRow]:
        return [row for row in self.reading.deliveries.values() if row.state == "dead"]

    def name_of(self, ids: Any) -> str:
        known = {row.id: row.position for row in self.reading.deliveries.values()}
        return ", ".join(f"position {known.get(str(one))}" for one in ids)

    def unsettled(self) -> list[str]:
        """What is not at its end, but for what waits behind a dead letter that parks its key."""
        left = []
        for handler, number in self.pairs():
            state = self.state(handler, number)
            if state in ("done", "dead", "discarded") or self._waits_behind_dead(handler, number):
                continue
            left.append(f"{handler} of {number} (key {self.events[number].key}) is {state}")
        missing = [n for n, e in self.events.items() if e.state in ("committed", "due") and e.visible_at is None]
        return left + [f"event {number} never came into the log" for number in missing]

    def pairs(self) -> list[tuple[str, int]]:
        return [
            (name, number)
            for number in self.reading.events
            for name, rules in HANDLERS.items()
            if rules.takes is self.events[number].kind
        ]

    def _waits_behind_dead(self, handler: str, number: int) -> bool:
        rules = HANDLERS[handler]
        if not (rules.ordered and rules.parks) or self.state(handler, number) != "waiting":
            return False
        position, key = self.reading.events[number], self.events[number].key
        return any(
            self.state(handler, other) == "dead"
            for other, at in self.reading.events.items()
            if at < position and self.events[other].key == key and self.events[other].kind is rules.takes
        )

    def bound_before(self, handler: str, number: int) -> list[int]:
        """The events of the same key that must be settled first: those that were visible when it was read."""
        event, rules = self.events[number], HANDLERS[handler]
        position = self.reading.events[number]
        return [
            other
            for other, at in self.reading.events.items()
            if at < position and self.events[other].key == event.key and self.events[other].kind is rules.takes
            and self._came_before(other, number)
        ]  # fmt: skip

    def _came_before(self, first: int, second: int) -> bool:
        one, two = self.events[first].visible_at, self.events[second].visible_at
        if one is None or two is None:
            return False
        return one <= two or not any(two < claim < one for claim in self.leases.claims)

    def is_over(self, process: Process | None, handler: str, number: int) -> bool:
        rules, state = HANDLERS[handler], self.state(handler, number)
        if state in ("done", "discarded") or (handler, number) in self.let_pass:
            return True
        if rules.transactional and self.has_effect(handler, number):
            return True
        return any(
            _ended_for_good(attempt, rules)
            for attempt in self.attempts
            if attempt.process is process and (attempt.handler, attempt.number) == (handler, number)
        )

    def has_effect(self, handler: str, number: int) -> bool:
        return any((effect[0], effect[1]) == (handler, number) for effect in self.reading.effects)


def _ended_for_good(attempt: Attempt, rules: Rules) -> bool:
    """Whether its process takes the event for settled, whatever the database has heard of it."""
    if attempt.act == "discard":
        return True
    if attempt.act == "succeed":
        return not rules.transactional
    timed_out = attempt.act is None and attempt.process.loop.now >= attempt.began + TIMEOUT
    failed = timed_out or attempt.act in ("fail", "fail late")
    return not rules.parks and (attempt.act == "die" or (failed and attempt.attempt >= MAX_ATTEMPTS))
