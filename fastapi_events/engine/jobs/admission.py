"""Letting limited runs through their gates, when a pool has room for them; and looking after what was forgotten."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence

from fastapi_events.engine.jobs.ready_job import JobPlan, ReadyJob
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import wait_for_flag
from fastapi_events.store.run_gates import GateRule, Opened, RunGates

ROUNDS = 8
"""Statements in one go, at most: a run may come from one gate to the next, and a new gate takes one of its own."""
SHORT = 0.005
"""Seconds until the next look at gates that another process was at."""
POLLS = 12
"""Poll intervals between two rounds that remove gates and keys which nobody needs."""
CLOSED = Opened()


class Admission:
    """Opens the gates of jobs; costs nothing where no job is limited."""

    def __init__(self, gates: RunGates, ready: Callable[[], None]) -> None:
        self._gates, self._ready = gates, ready
        self.former: frozenset[int] = frozenset()
        """Jobs that are not limited, of which runs wait at gates all the same: they were, when those were started."""

    def concerns(self, job: ReadyJob) -> bool:
        """Whether it has gates."""
        return job.limited or job.number in self.former

    async def open(self, jobs: Sequence[ReadyJob], room: int) -> Opened:
        """Make runs of these jobs ready whose turn it is; those that there is no ``room`` for are others' work."""
        rules = [rule_of(job) for job in jobs if self.concerns(job)]
        if not rules:
            return CLOSED
        made, opened = 0, CLOSED
        for _ in range(ROUNDS):
            opened = await self._gates.open(rules, room)
            made += opened.ready
            if not opened.more or made >= room:
                break
        if made > room:
            self._ready()
        if opened.left_alone:
            return opened._replace(seconds=SHORT)
        return opened


class GateTending(Loop):
    """The net: gives turns to gates at which runs wait and could begin, and removes what is needed no more.

    A turn is a row like any other: whoever deletes runs by hand, or restores half of a database, takes turns along.
    """

    name = "gates of runs"

    def __init__(
        self, gates: RunGates, plan: JobPlan, admission: Admission, *, poll_interval: Callable[[], float],
        ready: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._gates, self._plan, self._admission, self._ready = gates, plan, admission, ready
        self._limited = any(job.limited or job.job.dedupe is not None for job in plan.jobs.values())
        self._poll_interval = poll_interval
        self._flag = asyncio.Event()
        self._seen: frozenset[int] = frozenset()
        """Jobs of which somebody has seen runs at gates."""
        self._now = asyncio.get_running_loop().time
        self._next_pruning = self._now()

    def interrupt(self) -> None:
        self._flag.set()

    async def recover(self) -> None:
        """Remove what can be next; who waits at gates is seen again by whoever has."""
        self._next_pruning = self._now()
        self._flag.set()

    def call(self, jobs: Collection[int]) -> None:
        """Somebody has seen runs of these jobs at gates: no others wait that this process could run."""
        self._seen = frozenset(jobs)
        self._flag.set()

    async def turn(self) -> None:
        await wait_for_flag(self._flag, max(self._next_pruning - self._now(), 0.0))
        self._flag.clear()
        if not self.stopping.is_set():
            await self.tend()
            await self._prune()

    async def tend(self) -> None:
        """Once."""
        seen, self._seen = self._seen, frozenset()
        jobs = [job for number in sorted(seen) if (job := self._plan.by_number.get(number)) is not None]
        former = frozenset(job.number for job in jobs if not job.limited)
        found, self._admission.former = former - self._admission.former, self._admission.former | former
        if sum([await self._gates.call(rule_of(job)) for job in jobs]) or found:
            self._ready()

    async def _prune(self) -> None:
        if self._now() < self._next_pruning:
            return
        await self._gates.prune()
        pause = POLLS * self._poll_interval() * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
        self._next_pruning = self._now() + (pause if self._limited or self._admission.former else 3600.0)


def rule_of(job: ReadyJob) -> GateRule:
    """What the gates of a job let through, by its declaration here."""
    concurrency, rate = job.job.concurrency, job.job.rate_limit
    return GateRule(
        job.number,
        None if concurrency is None else concurrency.limit,
        None if rate is None else rate.per / rate.limit,
        None if rate is None else rate.per,
    )
