"""Letting limited runs through their gates, when a pool has room for them; and looking after what was forgotten."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from fastapi_events.engine.jobs.ready_job import JobPlan, ReadyJob
from fastapi_events.engine.service import Loop
from fastapi_events.store.run_gates import GateRule, Opened, RunGates

ROUNDS = 8
"""Statements in one go, at most: a run may come from one gate to the next, and a new gate takes one of its own."""
SHORT = 0.005
"""Seconds until the next look at gates that another process was at."""
CLOSED = Opened()


class Admission:
    """Opens the gates of jobs; costs nothing where no job is limited."""

    def __init__(self, gates: RunGates, ready: Callable[[], None]) -> None:
        self._gates, self._ready = gates, ready
        self.everything = False
        """Whether runs wait at gates of jobs that are not limited any more."""

    async def open(self, jobs: Sequence[ReadyJob], room: int) -> Opened:
        """Make runs of these jobs ready whose turn it is; those that there is no ``room`` for are others' work."""
        rules = [rule_of(job) for job in jobs if job.limited or self.everything]
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
    """The net: once at the start, and from then on each poll interval where jobs are limited.

    A turn is a row like any other: whoever deletes runs by hand, or restores half of a database, takes turns along.
    """

    name = "gates of runs"

    def __init__(
        self, gates: RunGates, plan: JobPlan, admission: Admission, *, poll_interval: Callable[[], float],
        ready: Callable[[], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._gates, self._admission, self._ready = gates, admission, ready
        self._limited = any(job.limited or job.job.dedupe is not None for job in plan.jobs.values())
        self._poll_interval = poll_interval
        self._looked = False

    async def turn(self) -> None:
        if self._looked:
            wait = self._poll_interval() * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
            await self._pause(wait if self._limited or self._admission.everything else 3600.0)
        if not self.stopping.is_set():
            await self.tend()

    async def tend(self) -> None:
        """Once."""
        if await self._gates.call():
            self._admission.everything = True
            self._ready()
        await self._gates.prune()
        self._looked = True


def rule_of(job: ReadyJob) -> GateRule:
    """What the gates of a job let through, by its declaration here."""
    concurrency, rate = job.job.concurrency, job.job.rate_limit
    return GateRule(
        job.number,
        None if concurrency is None else concurrency.limit,
        None if rate is None else rate.per / rate.limit,
        None if rate is None else rate.per,
    )
