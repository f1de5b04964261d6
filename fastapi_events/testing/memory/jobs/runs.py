"""What memory keeps of all runs: how they begin, how they end, and whom that concerns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from fastapi_events.model.run_start import RunStart
from fastapi_events.store.jobs import KnownJob
from fastapi_events.store.runs import RunClaim
from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.held_back import lock, settle
from fastapi_events.testing.memory.jobs.kept_run import KeptEnd, KeptRun

Key = tuple[int, str]
"""A job's number, and a key of its inputs."""
PARENT_ENDED = "the run that spawned it has ended"


class Replaced(NamedTuple):
    """A run whose place another one takes."""

    run_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A dedupe key that a run has: for good until it is over, or until a moment."""

    run_id: UUID
    expires_at: datetime | None
    until_started: bool

    def counts(self, now: datetime) -> bool:
        """Whether it is still taken."""
        return self.expires_at is None or self.expires_at > now


class KeptRuns:
    """The runs of one instance. What is held back by transactions has to be settled before anything is read here."""

    def __init__(self, clock: Clock, changed: Callable[[], None]) -> None:
        self.clock, self._changed = clock, changed
        self.jobs: list[KnownJob] = []
        self.keys: dict[Key, KeptKey] = {}
        self.arrivals: dict[Key, datetime] = {}
        """Of each gate of a rate the theoretical arrival time of the next run, by the generic cell rate algorithm."""
        self._runs: dict[UUID, KeptRun] = {}
        self._of_events: set[tuple[UUID, int | None]] = set()
        self.announcing: set[int] = set()
        """The numbers of the jobs whose ends are told of."""
        self._ended: Callable[[KeptRun, KeptEnd], None] | None = None
        self._position: Callable[[], int] = int
        self._numbers, self._tokens = itertools.count(1), itertools.count(1)

    def all(self) -> list[KeptRun]:
        """Every run, in the order of starting."""
        with lock:
            settle()
            return list(self._runs.values())

    def queued(self) -> Iterator[KeptRun]:
        """Those that have not ended."""
        return (run for run in self.all() if run.end is None)

    def find(self, run_id: UUID) -> KeptRun | None:
        """One run."""
        with lock:
            settle()
            return self._runs.get(run_id)

    def waiting(self, run_id: UUID | None) -> KeptRun | None:
        """One run, if it has not ended."""
        run = None if run_id is None else self._runs.get(run_id)
        return run if run is not None and run.end is None else None

    def own(self, claim: RunClaim) -> KeptRun | None:
        """The run that this claim is about, as long as it is."""
        run = self.find(claim.run_id)
        valid = run is not None and run.end is None and run.place == "x" and run.token == claim.token
        return run if valid else None

    def has(self, start: RunStart) -> bool:
        """Whether it is there already, by its id or by what has started it."""
        return start.id in self._runs or (
            start.event_id is not None and (start.event_id, start.trigger_id) in self._of_events
        )

    def draw_token(self) -> int:
        """The fence of a claim."""
        return next(self._tokens)

    def job_name(self, number: int) -> str:
        """What a job is called."""
        return next((job.name for job in self.jobs if job.id == number), "")

    def begin(self, start: RunStart) -> bool:
        """Keep a run from now on; False if it is there already."""
        if self.has(start):
            return False
        now = self.clock.now()
        due = start.at if start.delay is None else now + timedelta(seconds=start.delay)
        run = KeptRun(start, next(self._numbers), now, start.input)
        self._runs[start.id] = run
        if due is not None and due > now:
            run.place, run.due_at = "t", due
        else:
            run.come()
        if start.event_id is not None:
            self._of_events.add((start.event_id, start.trigger_id))
        self._take_key(start)
        return True

    def end_run(self, run: KeptRun, end: KeptEnd) -> None:
        """Note how a run has ended: its key is free, whoever spawned it hears of it, its own children are closed."""
        run.end, run.holds, run.gate, run.due_at, run.token = end, False, None, None, 0
        run.waits.clear()
        self._free_key(run)
        if run.start.job_id in self.announcing and self._ended is not None:
            self._ended(run, end)
        parent = self.waiting(run.start.parent_id)
        if parent is not None:
            parent.children, parent.news = parent.children - 1, parent.news + 1
            if parent.place == "w" and (parent.wakes or end.state != "completed" or parent.children <= 0):
                parent.place, parent.due_at = "r", None
        for child in self.children_of(run.id) if run.has_family else ():
            if child.end is None and child.start.on_parent_close != "abandon":
                _close(child)

    def when_announced(self, call: Callable[[KeptRun, KeptEnd], None]) -> None:
        """Have ``call`` told how runs end whose jobs want it."""
        self._ended = call

    def read_log(self, position: Callable[[], int]) -> None:
        """Have ``position`` asked how far the log of events is."""
        self._position = position

    def give_back(self) -> None:
        """Make ready what is at work: whoever had it has gone with its event loop."""
        with lock:
            for run in self.queued():
                if run.place == "x":
                    run.place, run.token, run.resumed, run.lapsed = "r", 0, True, True

    def cancel(self, run: KeptRun, reason: str) -> bool:
        """Cancel a run; whether it has ended by that, and is not only told so."""
        if run.place == "x":
            run.cancel_reason = reason
            return False
        self.end_run(run, KeptEnd("canceled", self.clock.now(), run.attempts, note=reason))
        return True

    def end_canceled(self) -> int:
        """End what is to be cancelled and what nobody runs, and what has to follow it; returns how many."""
        count = 0
        while (run := self._next_canceled()) is not None:
            self.cancel(run, str(run.cancel_reason))
            count += 1
        return count

    def begin_anew(self, run: KeptRun, asked: RunStart) -> None:
        """Let a run that has ended begin anew, with what was ``asked`` of its limits."""
        assert run.end is not None, "only what has ended begins anew"  # noqa: S101
        run.attempts = run.attempts_before = run.end.attempts
        run.end, run.cancel_reason, run.resumed, run.redrives = None, None, True, run.redrives + 1
        run.news, run.postponed, run.heard = 0, 0, self._position()
        children = self.children_of(run.id)
        run.children, run.has_family, run.wakes = sum(one.end is None for one in children), bool(children), False
        run.come()
        parent = self.waiting(run.start.parent_id)
        if parent is not None:
            parent.children += 1
        self._take_key(asked)

    def children_of(self, run_id: UUID) -> list[KeptRun]:
        """What a run has spawned, in that order."""
        return [run for run in self._runs.values() if run.start.parent_id == run_id]

    def let_go_of_key(self, run: KeptRun) -> None:
        """It has begun: a key that was taken until then is free."""
        limits = run.start.limits
        if limits is not None and limits.until_started:
            self._free_key(run)

    def let_go(self, run: KeptRun, key: str) -> None:
        """It stands for no further start of a key any more."""
        kept = self.keys.get((run.start.job_id, key))
        if kept is not None and kept.run_id == run.id:
            del self.keys[run.start.job_id, key]

    def keep(self, things: Sequence[Any]) -> None:
        """What transactions have held back until their commit."""
        for thing in things:
            if isinstance(thing, RunStart):
                self.begin(thing)
            elif isinstance(thing, Replaced):
                run = self.waiting(thing.run_id)
                if run is not None:
                    self.cancel(run, thing.reason)
            else:
                thing()
        self._changed()

    def _take_key(self, start: RunStart) -> None:
        limits = start.limits
        if limits is not None and limits.dedupe_key is not None:
            until = None if limits.window is None else self.clock.now() + timedelta(seconds=limits.window)
            self.keys[start.job_id, limits.dedupe_key] = KeptKey(start.id, until, limits.until_started)

    def _free_key(self, run: KeptRun) -> None:
        limits = run.start.limits
        if limits is not None and limits.dedupe_key is not None and limits.window is None:
            self.let_go(run, limits.dedupe_key)

    def _next_canceled(self) -> KeptRun | None:
        return next((run for run in self.queued() if run.cancel_reason is not None and run.place != "x"), None)


def _close(child: KeptRun) -> None:
    child.cancel_reason = child.cancel_reason or PARENT_ENDED
    child.news += 1
    if child.place != "x" or child.start.on_parent_close == "terminate":
        child.place, child.due_at, child.token = "r", None, 0
