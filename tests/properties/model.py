"""What must hold whatever happens: the promises of delivery, and the bookkeeping that it takes to judge them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from fastapi_events import Delivery, Event
from fastapi_events.engine.infrastructure import is_infrastructure
from fastapi_events.errors import EventsError
from fastapi_events.model.lane import partition_of
from tests.properties.accounts import Accounts, Attempt, Published
from tests.properties.application import HANDLERS, MAX_ATTEMPTS, PARTITIONS, TIMEOUT, Act, key_of
from tests.properties.leases import Violation
from tests.properties.readings import DeliveryRow, Reading
from tests.properties.silence import Silence

if TYPE_CHECKING:
    from tests.properties.connections import Call
    from tests.properties.process import Process, Worker


class Model(Accounts):
    """Judges each attempt as it begins, each answer of the server, and each new reading."""

    def __init__(self) -> None:
        super().__init__()
        self.tick = 0
        self.silence = Silence()
        self._asked: set[tuple[str, str]] = set()
        self._found: list[Violation] = []

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

    def begins(self, process: Process, handler: str, number: int, delivery: Delivery) -> Attempt:
        """A handler is called. Whether it may be is told by ``check``: what is raised here is the handler's failure."""
        self.tick += 1
        # The time of an attempt begins when it has a connection, before the server has begun its transaction.
        place, now = (self.handlers[handler], delivery.position), process.loop.now
        began = process.transactions_begun.get(place, now) if HANDLERS[handler].transactional else now
        attempt = Attempt(process, handler, number, delivery.attempt, began)
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
        if self.leases.is_claimed_in_pause(process, self.handlers[handler], position):
            raise Violation(f"{what} begins, claimed after its pause was seen")
        if delivery.attempt > MAX_ATTEMPTS:
            raise Violation(f"{what} begins its attempt {delivery.attempt} of {MAX_ATTEMPTS}")
        entitled = self._is_entitled(process, handler, number)
        if entitled:
            self._check_entitled(attempt)
        if rules.ordered and (entitled or rules.transactional):
            self._check_predecessors(what, process, handler, number)

    def answered(self, call: Call, rows: Any, *, heard: bool) -> None:
        """A statement has been carried out: who has which lease now, and did a worker without one change anything?"""
        self.tick += 1
        self.leases.answered(call, rows, self.tick, heard=heard)
        self.silence.answered(call, rows)

    def look(self, workers: Iterable[Worker]) -> None:
        """Note what the workers know of pauses."""
        self.leases.look(workers, self.handlers.values(), self.tick)

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
        for handler, number in self.pairs():
            self._check_change(before, handler, number, by)
            was, row = self.row(handler, number, before), self.row(handler, number)
            if was is not None and row is not None and was.progress != row.progress:
                self.silence.forget(row.id)
            if not HANDLERS[handler].parks and self.state(handler, number) == "dead":
                self.let_pass.add((handler, number))  # redriven, it comes behind those that have passed it

    def _is_entitled(self, process: Process, handler: str, number: int) -> bool:
        """Whether nobody has taken over what the process claimed: the lease of the partition, or of the parked key."""
        key, position = key_of(self.events[number].key), self.reading.events[number]
        if self.row(handler, number) is None:
            return self.leases.has_batch(process, partition_of(key, PARTITIONS), position)
        has_key = self.leases.has_key(process, self.handlers[handler], {key, f"#{position}"})
        return has_key and not self.leases.is_in_batch(process, position)

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
        for other in self.bound_before(handler, number):
            if not self.is_over(process, handler, other):
                raise Violation(f"{what} begins, and {other} of its key, before it, is {self.state(handler, other)}")

    def _check_effects(self, before: Reading, by: str, process: Process | None) -> None:
        for handler, number, writer in set(self.reading.effects) - set(before.effects):
            what = f"{by}: the effect of {handler} of {number}, by {writer},"
            if (state := self.state(handler, number, before)) not in ("pending", "waiting"):
                raise Violation(f"{what} is committed though that was {state}")
            if HANDLERS[handler].ordered:
                for other in self.bound_before(handler, number):
                    if not self.is_over(process, handler, other):
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
        if HANDLERS[handler].transactional and not self.has_effect(handler, number):
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
            case "crashed_worker":
                self.silence.check_verdict(what, row.id)
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
