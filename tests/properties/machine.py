"""Any schedule of publishing, handling, failing, crashing, operating and waiting, as Hypothesis draws it."""

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from fastapi_events import Event
from tests.properties.application import ACTS, HANDLERS, Placed, Shipped
from tests.properties.connections import Call
from tests.properties.finale import finale
from tests.properties.ground import Ground
from tests.properties.world import World

MOST_WORKERS, MOST_STARTS = 4, 6
KEYS = ("a", "b", "c")

picks = st.integers(0, 9)
kinds = st.sampled_from([Placed, Placed, Shipped])
events = st.lists(st.tuples(kinds, st.sampled_from(KEYS)), min_size=1, max_size=3)
spans = st.sampled_from([3.0, 20.0, 45.0, 110.0, 210.0])


class Delivery(RuleBasedStateMachine):
    """Two to four workers on one database; ``teardown`` brings everything to rest, and judges what is left."""

    ground: ClassVar[Ground]
    examples: ClassVar[int] = 0
    steps: ClassVar[int] = 0
    calls: ClassVar[int] = 0
    traces: ClassVar[list[list[str]] | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.ground)
        self.failed = False
        type(self).examples += 1

    @initialize(
        workers=st.integers(2, 3), batch=st.sampled_from([1, 3, 50]), first=events,
        acts=st.fixed_dictionaries({name: st.lists(st.sampled_from(ACTS), max_size=4) for name in HANDLERS}),
    )  # fmt: skip
    def begin(self, workers: int, batch: int, first: list[tuple[type[Event], str]], acts: dict[str, list[Any]]) -> None:
        self.world.batch_size = batch
        for handler, listed in acts.items():
            self.world.scripts[handler] = deque(listed)
        self.world.note(f"handlers shall {acts}")
        for _ in range(workers):
            self.world.start_worker()
        self.world.end(self.world.publish(first), commit=True)

    # Statements pass

    @rule(order=st.lists(picks, min_size=1, max_size=15))
    def let_some_pass(self, order: list[int]) -> None:
        """One statement after the other, of whomever."""
        for pick in order:
            self._pass(self.world.eligible, pick)

    @rule(order=st.lists(picks, min_size=10, max_size=40))
    def let_many_pass(self, order: list[int]) -> None:
        self.let_some_pass(order)

    @rule(worker=picks, count=st.integers(1, 12))
    def let_one_worker_go_on(self, worker: int, count: int) -> None:
        running = [one for one in self.world.workers if one.can_run]
        for _ in range(count if running else 0):
            process = running[worker % len(running)]
            self._pass([call for call in self.world.eligible if call.process is process], 0)

    @rule(worker=picks, count=st.integers(10, 40))
    def let_one_worker_go_on_for_long(self, worker: int, count: int) -> None:
        self.let_one_worker_go_on(worker, count)

    @rule(count=st.integers(5, 40))
    def let_all_go_on(self, count: int) -> None:
        for _ in range(count):
            self._pass(self.world.eligible, 0)

    @precondition(lambda self: self.world.eligible)
    @rule(pick=picks, fault=st.sampled_from(["answer lost", "never sent"]))
    def lose_a_connection(self, pick: int, fault: Any) -> None:
        self._pass(self.world.eligible, pick, fault)

    def _pass(self, calls: list[Call], pick: int, fault: Any = "none") -> None:
        if calls:
            type(self).calls += 1
            self.world.execute(calls[pick % len(calls)], fault)

    # Events

    @precondition(lambda self: self.world.has_room)
    @rule(what=events, delay=st.sampled_from([None, None, 25.0]), wake=st.sampled_from([True, True, False]))
    def publish(self, what: list[tuple[type[Event], str]], delay: float | None, wake: bool) -> None:
        self.world.end(self.world.publish(what, delay=delay), commit=True)
        if wake:
            self.world.wake_all("events")

    @precondition(lambda self: len(self.world.publications) < 3 and self.world.has_room)
    @rule(what=events)
    def begin_publishing(self, what: list[tuple[type[Event], str]]) -> None:
        self.world.publish(what)

    @precondition(lambda self: self.world.publications)
    @rule(pick=picks, commit=st.sampled_from([True, True, False]))
    def end_publishing(self, pick: int, commit: bool) -> None:
        open_ones = self.world.publications
        self.world.end(open_ones[pick % len(open_ones)], commit=commit)

    # Handlers

    @rule(handler=st.sampled_from(sorted(HANDLERS)), acts=st.lists(st.sampled_from(ACTS), min_size=1, max_size=4))
    def tell_handler(self, handler: str, acts: list[Any]) -> None:
        self.world.note(f"{handler} shall {acts}")
        self.world.scripts[handler] = deque(acts)

    @precondition(lambda self: self.world.can_go_on)
    @rule(pick=picks, act=st.sampled_from([act for act in ACTS if act != "hang"]))
    def let_handler_go_on(self, pick: int, act: Any) -> None:
        self.world.finish(self.world.can_go_on[pick % len(self.world.can_go_on)], act)

    # Processes

    @precondition(lambda self: self.world.workers)
    @rule(pick=picks)
    def crash(self, pick: int) -> None:
        self.world.crash(self.world.workers[pick % len(self.world.workers)])

    @precondition(lambda self: len(self.world.workers) < MOST_WORKERS and self.world.starts < MOST_STARTS)
    @rule()
    def start(self) -> None:
        self.world.start_worker()

    @precondition(lambda self: any(worker.is_up for worker in self.world.workers))
    @rule(pick=picks)
    def stop(self, pick: int) -> None:
        up = [worker for worker in self.world.workers if worker.is_up]
        self.world.stop(up[pick % len(up)])

    @precondition(lambda self: any(worker.can_run for worker in self.world.workers))
    @rule(pick=picks)
    def freeze(self, pick: int) -> None:
        running = [worker for worker in self.world.workers if worker.can_run]
        self.world.freeze(running[pick % len(running)])

    @precondition(lambda self: any(worker.is_frozen for worker in self.world.workers))
    @rule(pick=picks)
    def thaw(self, pick: int) -> None:
        frozen = [worker for worker in self.world.workers if worker.is_frozen]
        self.world.thaw(frozen[pick % len(frozen)])

    @precondition(lambda self: len([worker for worker in self.world.workers if worker.can_run]) > 1)
    @rule(pick=picks, before=st.integers(0, 12), others=st.integers(5, 40))
    def outlive_lease(self, pick: int, before: int, others: int) -> None:
        """One stalls on its way until its leases are over and the others have taken over, and comes back."""
        running = [worker for worker in self.world.workers if worker.can_run]
        stalled = running[pick % len(running)]
        self.world.wake(stalled)
        self.let_one_worker_go_on(pick, before)
        if stalled.can_run and stalled in self.world.workers:
            self.world.freeze(stalled)
            self.world.pass_time(110.0)
            self.world.wake_all("everything")
            self.let_all_go_on(others)
            self.world.thaw(stalled)

    @precondition(lambda self: self.world.workers)
    @rule(statements=st.lists(st.integers(3, 20), min_size=2, max_size=5))
    def fall_silent_in_turn(self, statements: list[int]) -> None:
        """Each takes over what the one before it had in hand, and falls silent over it; some come back for more."""
        for count in statements:
            if self.world.workers and not any(worker.can_run for worker in self.world.workers):
                self.world.thaw(self.world.workers[0])
            for worker in [worker for worker in self.world.workers if worker.can_run][:1]:
                self.world.wake(worker)
                self.let_one_worker_go_on(0, count)
                if worker.can_run and worker in self.world.workers:
                    self.world.freeze(worker)
            self.world.pass_time(110.0)

    @precondition(lambda self: any(worker.is_up for worker in self.world.workers))
    @rule(pick=picks, what=st.sampled_from(["events", "keys", "handlers", "everything"]))
    def wake(self, pick: int, what: Any) -> None:
        up = [worker for worker in self.world.workers if worker.is_up]
        self.world.wake(up[pick % len(up)], what)

    # Time

    @rule(seconds=spans)
    def pass_time(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(seconds=st.sampled_from([15.0, 60.0, 130.0, -60.0]))
    def jump(self, seconds: float) -> None:
        self.world.jump(seconds)

    # Operators

    @precondition(lambda self: self.world.model.dead())
    @rule(pick=picks, what=st.sampled_from(["redrive", "redrive", "discard"]))
    def treat_dead(self, pick: int, what: str) -> None:
        dead = self.world.model.dead()
        self.world.operate(what, [dead[pick % len(dead)].id])

    @precondition(lambda self: len(self.world.model.dead()) > 1)
    @rule(what=st.sampled_from(["redrive", "discard"]))
    def treat_all_dead(self, what: str) -> None:
        self.world.operate(what, [row.id for row in self.world.model.dead()])

    @rule(handler=st.sampled_from([*sorted(HANDLERS), None]), what=st.sampled_from(["pause", "resume"]))
    def gate(self, handler: str | None, what: str) -> None:
        self.world.operate(what, **({"lane": "change"} if handler is None else {"handler": handler}))

    def teardown(self) -> None:
        type(self).steps += len(self.world.trace)
        try:
            if not self.world.is_broken:
                finale(self.world)
        finally:
            if self.traces is not None:
                self.traces.append(self.world.trace)
            self.world.close()
