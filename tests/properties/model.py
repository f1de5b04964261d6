"""What must hold whatever happens: the promises of delivery, and the bookkeeping that it takes to judge them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi_events import Delivery, Event
from fastapi_events.engine.infrastructure import is_infrastructure
from fastapi_events.errors import EventsError
from tests.properties.application import HANDLERS, MAX_ATTEMPTS, TIMEOUT, Act, Rules
from tests.properties.readings import DeliveryRow, Reading

if TYPE_CHECKING:
    from tests.properties.connections import Call
    from tests.properties.process import Process, Worker

DETACHED_TOKENS = 1 << 32
"""Tokens above are drawn by the worker that detaches an attempt."""
CRASHES = 3
"""Interruptions of a worker by which an event may be taken for one that kills its workers."""


class Violation(AssertionError):
    """A promise is broken."""


@dataclass(eq=False)
class Attempt:
    """One call of a handler, as the handler saw it; ``act`` is what it ended with, None while it runs."""

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


class Model:
    """Judges each attempt as it begins, each answer of the server, and each new reading."""

    def __init__(self) -> None:
        self.tick = 0
        self.handlers: dict[str, int] = {}
        self.events: dict[int, Published] = {}
        self.attempts: list[Attempt] = []
        self.reading = Reading({}, [], {}, frozenset())
        self.interruptions = 0
        self.clock_jumped = False
        self._claims: list[int] = []
        self._partitions: dict[int, tuple[int, Process]] = {}
        self._keys: dict[tuple[int, str], tuple[int, Process]] = {}
        self._read: dict[tuple[Process, int], int] = {}
        self._keys_claimed: dict[Process, int] = {}
        self._pause_seen: dict[tuple[Process, int], int] = {}
        self._asked: set[tuple[str, str]] = set()
        self._found: list[Violation] = []
        self._let_pass: set[tuple[str, int]] = set()

    # What happens

    def learn_handlers(self, numbers: dict[str, int]) -> None:
        self.handlers = numbers

    def publishes(self, number: int, kind: type[Event], key: str, *, scheduled: bool) -> None:
        self.events[number] = Published(kind, key, "scheduled" if scheduled else "open")

    def ends(self, numbers: Iterable[int], *, commit: bool) -> None:
        for number in numbers:
            event = self.events[number]
            if not commit:
                event.state = "rolled back"
            elif event.state == "open":
                event.state = "committed"
            else:
                event.state = "due"

    def asked(self, what: str, ids: Sequence[Any]) -> None:
        self._asked |= {(what, str(one)) for one in ids}

    def interrupted(self, _: Process) -> None:
        self.interruptions += 1

    def begins(self, process: Process, handler: str, number: int, delivery: Delivery) -> Attempt:
        """A handler is called. Whether it may be is told by ``check``: what is raised here is the handler's failure."""
        self.tick += 1
        attempt = Attempt(process, handler, number, delivery.attempt, process.loop.now)
        self.attempts.append(attempt)
        try:
            self._check_begin(attempt, delivery)
        except Violation as violation:
            self._found.append(violation)
        return attempt

    def _check_begin(self, attempt: Attempt, delivery: Delivery) -> None:
        process, handler, number = attempt.process, attempt.handler, attempt.number
        what, rules = f"{process.name}: {handler} of {number}", HANDLERS[handler]
        position = self.reading.events.get(number)
        if position is None or self.events[number].state not in ("committed", "due"):
            raise Violation(f"{what} begins, and nobody has committed that event")
        if position != delivery.position:
            raise Violation(f"{what} is told position {delivery.position}, and has {position}")
        self._check_pause(attempt, position)
        if delivery.attempt > MAX_ATTEMPTS:
            raise Violation(f"{what} begins its attempt {delivery.attempt} of {MAX_ATTEMPTS}")
        entitled = self._is_entitled(process, handler, number)
        if entitled:
            self._check_entitled(attempt)
        if rules.ordered and (entitled or rules.transactional):
            self._check_predecessors(what, process, handler, number)

    def answered(self, call: Call, rows: Any) -> None:
        """A statement has been carried out: who has which lease, and did a worker without one change anything?"""
        self.tick += 1
        process = call.process
        match call.label:
            case "claim_windows":
                self._note_claim(process, rows)
            case "claim_keys":
                self._keys_claimed[process] = self.tick
                for row in rows:
                    self._keys[row["handler_id"], row["slot"]] = row["token"], process
            case "read_queue":
                for row in rows:
                    if row["position"] is not None:
                        self._read[process, row["position"]] = self._keys_claimed.get(process, self.tick)
            case "settle_batch":
                for row in rows:
                    self._note_settled(process, row["partition"], row["seq"])
            case "settle_key" if rows:
                self._note_key_settled(process, *call.arguments[:3])
                call.connection.settling = call.arguments[0], call.arguments[1]
            case "COMMIT" if call.connection.settling is not None:
                key, call.connection.settling = call.connection.settling, None
                if self._keys.get(key, (0, None))[1] is process:
                    del self._keys[key]
            case _:
                pass

    def look(self, workers: Iterable[Worker]) -> None:
        """Note what the workers know of pauses."""
        for worker in workers:
            for number in self.handlers.values():
                if worker.knows_paused(number):
                    self._pause_seen.setdefault((worker, number), self.tick)
                else:
                    self._pause_seen.pop((worker, number), None)

    def check(self, processes: Iterable[Process], defects: Sequence[str]) -> None:
        """Nothing may fail but by the infrastructure, and no handler may have been called that should not be."""
        if self._found:
            raise self._found[0]
        if defects:
            raise Violation(f"a defect was logged: {defects[0]}")
        for process in processes:
            if process.loop.problems:
                raise Violation(f"{process.name}: {process.loop.problems[0]}")
            for task in [task for task in process.tasks if task.done()]:
                process.tasks.remove(task)
                error = None if task.cancelled() else task.exception()
                if error is not None and not isinstance(error, EventsError) and not is_infrastructure(error):
                    raise Violation(f"{process.name}: {error!r}") from error

    def observe(self, reading: Reading, what: str, process: Process | None) -> None:
        """What is committed has changed: may it have?"""
        self.tick += 1
        before, self.reading = self.reading, reading
        by = f"{what} of {process.name if process else 'nobody'}"
        for number in reading.events.keys() - before.events.keys():
            event = self.events[number]
            if event.state not in ("committed", "due"):
                raise Violation(f"{by}: event {number} is in the log, and its transaction is {event.state}")
            event.visible_at = self.tick
        self._check_effects(before, by, process)
        for handler, number in self._pairs():
            self._check_change(before, handler, number, by)
            if not HANDLERS[handler].parks and self.state(handler, number) == "dead":
                self._let_pass.add((handler, number))  # redriven, it comes behind those that have passed it

    # What is to be judged

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
        for handler, number in self._pairs():
            state = self.state(handler, number)
            if state in ("done", "dead", "discarded") or self._waits_behind_dead(handler, number):
                continue
            left.append(f"{handler} of {number} (key {self.events[number].key}) is {state}")
        missing = [n for n, e in self.events.items() if e.state in ("committed", "due") and e.visible_at is None]
        return left + [f"event {number} never came into the log" for number in missing]

    def _pairs(self) -> list[tuple[str, int]]:
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

    def _check_pause(self, attempt: Attempt, position: int) -> None:
        process, hid = attempt.process, self.handlers[attempt.handler]
        if not process.knows_paused(hid):
            return
        seen = self._pause_seen.get((process, hid))
        claimed = self._read.get((process, position))
        if seen is not None and claimed is not None and claimed > seen:
            raise Violation(
                f"{process.name}: {attempt.handler} of {attempt.number} begins, claimed after its pause was seen"
            )

    def _is_entitled(self, process: Process, handler: str, number: int) -> bool:
        """Whether nobody has taken over what the process claimed: the lease of the partition, or of the parked key."""
        hid, position = self.handlers[handler], self.reading.events[number]
        row = self.row(handler, number)
        if row is None:
            partition = self._partition_of(position)
            return partition is not None and self._partitions.get(partition, (0, None))[1] is process
        slots = [key for key, (_, owner) in self._keys.items() if owner is process and key[0] == hid]
        names = {self.events[number].key, f"#{position}"}
        return any(slot.rsplit("/", 1)[-1] in names for _, slot in slots)

    def _check_entitled(self, attempt: Attempt) -> None:
        handler, number = attempt.handler, attempt.number
        what = f"{attempt.process.name}: {handler} of {number}"
        state, row = self.state(handler, number), self.row(handler, number)
        if state in ("done", "discarded", "dead"):
            raise Violation(f"{what} begins, and is {state}")
        expected = 1 if row is None else row.attempts - row.attempts_before + 1
        if attempt.attempt != expected:
            raise Violation(f"{what} is told attempt {attempt.attempt}, and it is attempt {expected}")

    def _check_predecessors(self, what: str, process: Process, handler: str, number: int) -> None:
        for other in self._bound_before(handler, number):
            if not self._is_over(process, handler, other):
                raise Violation(f"{what} begins, and {other} of its key, before it, is {self.state(handler, other)}")

    def _bound_before(self, handler: str, number: int) -> list[int]:
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
        return one <= two or not any(two < claim < one for claim in self._claims)

    def _is_over(self, process: Process | None, handler: str, number: int) -> bool:
        rules, state = HANDLERS[handler], self.state(handler, number)
        if state in ("done", "discarded") or (handler, number) in self._let_pass:
            return True
        if rules.transactional and self._has_effect(handler, number):
            return True
        return any(
            _ended_for_good(attempt, rules)
            for attempt in self.attempts
            if attempt.process is process and (attempt.handler, attempt.number) == (handler, number)
        )

    def _has_effect(self, handler: str, number: int) -> bool:
        return any((effect[0], effect[1]) == (handler, number) for effect in self.reading.effects)

    def _check_effects(self, before: Reading, by: str, process: Process | None) -> None:
        for handler, number, writer in set(self.reading.effects) - set(before.effects):
            what = f"{by}: the effect of {handler} of {number}, by {writer},"
            if (state := self.state(handler, number, before)) not in ("pending", "waiting"):
                raise Violation(f"{what} is committed though that was {state}")
            if HANDLERS[handler].ordered:
                for other in self._bound_before(handler, number):
                    if not self._is_over(process, handler, other):
                        raise Violation(
                            f"{what} is committed before {other} of its key, which is {self.state(handler, other)}"
                        )
        pairs = [(handler, number) for handler, number, _ in self.reading.effects]
        if twice := {pair for pair in pairs if pairs.count(pair) > 1}:
            raise Violation(f"{by}: effects applied twice: {sorted(twice)}")

    def _check_change(self, before: Reading, handler: str, number: int, by: str) -> None:
        old, new = self.state(handler, number, before), self.state(handler, number)
        what = f"{by}: {handler} of {number} was {old} and is {new}"
        was, row = self.row(handler, number, before), self.row(handler, number)
        if row is not None and row.attempts > self._most_attempts(handler, number, new):
            raise Violation(f"{what} with {row.attempts} attempts, and has been tried less often")
        if old == new:
            return
        if old in ("done", "discarded") or (new == "pending" and old != "unseen"):
            raise Violation(what)
        if old == "dead" and not (new == "discarded" and was and ("discard", was.id) in self._asked):
            redriven = new == "waiting" and was and ("redrive", was.id) in self._asked
            if not redriven:
                raise Violation(what)
        if new == "done":
            self._check_done(what, handler, number)
        elif new == "discarded" and not (row and ("discard", row.id) in self._asked):
            self._check_acted(what, handler, number, "discard")
        elif new == "dead" and row is not None:
            self._check_death(what, handler, number, row)

    def _check_done(self, what: str, handler: str, number: int) -> None:
        if HANDLERS[handler].transactional and not self._has_effect(handler, number):
            raise Violation(f"{what} without its effect")
        self._check_acted(what, handler, number, "succeed")

    def _check_acted(self, what: str, handler: str, number: int, act: Act) -> None:
        if not any((a.handler, a.number, a.act) == (handler, number, act) for a in self.attempts):
            raise Violation(f"{what}, and no attempt said {act}")

    def _check_death(self, what: str, handler: str, number: int, row: DeliveryRow) -> None:
        match row.reason:
            case "rejected_by_handler":
                self._check_acted(what, handler, number, "die")
            case "max_attempts" | "timed_out":
                if row.attempts - row.attempts_before < MAX_ATTEMPTS:
                    raise Violation(f"{what} after {row.attempts - row.attempts_before} attempts of {MAX_ATTEMPTS}")
            case "crashed_worker" if self.interruptions >= CRASHES:
                pass
            case _:
                raise Violation(f"{what} for {row.reason}")

    def _most_attempts(self, handler: str, number: int, state: str) -> int:
        """How many attempts can have been spent: those that came to an end, and the look that finds the mark."""
        ended = [
            attempt
            for attempt in self.attempts
            if (attempt.handler, attempt.number) == (handler, number)
            and (attempt.act not in (None, "later") or attempt.process.loop.now >= attempt.began + TIMEOUT)
        ]
        return len(ended) + (state == "done" and HANDLERS[handler].transactional)

    def _note_claim(self, process: Process, rows: Any) -> None:
        self._claims.append(self.tick)
        for row in rows:
            if row["position"] is not None:
                self._read[process, row["position"]] = self.tick
                continue
            seq = json.loads(row["payload"])["seq"]
            if seq > self._partitions.get(row["partition"], (0, None))[0]:
                self._partitions[row["partition"]] = seq, process

    def _note_settled(self, process: Process, partition: int, seq: int) -> None:
        owner = self._partitions.get(partition)
        if owner is None or owner[1] is not process:
            raise Violation(
                f"{process.name} settles partition {partition}, which {owner and owner[1].name} has taken over"
            )
        self._partitions[partition] = seq, process

    def _note_key_settled(self, process: Process, handler: int, slot: str, token: int) -> None:
        owner = self._keys.get((handler, slot))
        if token < DETACHED_TOKENS and (owner is None or owner != (token, process)):
            raise Violation(f"{process.name} settles the key {slot} of handler {handler}, whose claim it has lost")

    def _partition_of(self, position: int) -> int | None:
        number = next((number for number, at in self.reading.events.items() if at == position), None)
        return None if number is None else partition_of_key(self.events[number].key)


def partition_of_key(key: str) -> int:
    """Where the events of a key are."""
    from fastapi_events.model.lane import partition_of
    from tests.properties.world import PARTITIONS

    return partition_of(f"/order/{key}", PARTITIONS)


def _ended_for_good(attempt: Attempt, rules: Rules) -> bool:
    """Whether its process takes the event for settled, whatever the database has heard of it."""
    if attempt.act == "discard":
        return True
    if attempt.act == "succeed":
        return not rules.transactional
    last = attempt.act == "die" or attempt.attempt >= MAX_ATTEMPTS
    return not rules.parks and last and attempt.act in ("die", "fail", "fail late")
