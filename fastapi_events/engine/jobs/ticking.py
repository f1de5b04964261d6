"""Starting runs by schedules: each tick once, whichever process comes first, by the clock of the database.

A process waits for the nearest tick by a timer of its own, and asks nothing until then: what others change (a pause, a
new rule) it hears of with the questions that ``Lookout`` and ``DueRuns`` ask anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from fastapi_events.engine.jobs.schedules import Schedules
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import wait_for_flag
from fastapi_events.model.job_schedule import MOST_MADE_UP, ON_TIME
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.tick_rule import DueTicks, TickRule
from fastapi_events.store.job_schedules import Tick, Ticked

logger = logging.getLogger("fastapi_events")

LONGEST_WAIT = 3600.0
"""Seconds between two looks at most; with one of them this process says that it has its schedules."""
SHORTEST_WAIT = 0.01
"""Seconds until the next look after one that was too early, or after a tick that somebody else had."""
BUSY_WAIT = 1.0
"""Seconds until a tick is tried again that a transaction of the application has held up, which starts the same key."""


class Ticking(Loop):
    """Any process that works on jobs does it for the schedules that it has declared itself."""

    name = "schedules"

    def __init__(self, schedules: Schedules, *, started: Callable[[Collection[LogPlace]], None]) -> None:
        super().__init__()
        self._schedules, self._store, self._started = schedules, schedules.store, started
        self._loop = asyncio.get_running_loop()
        self._flag = asyncio.Event()
        self._next_look = self._loop.time()
        self._next_touch = self._next_look + LONGEST_WAIT
        self._unreadable: set[tuple[str, TickRule]] = set()

    @property
    def ids(self) -> list[int]:
        """The schedules that it looks after."""
        return self._schedules.ids

    def interrupt(self) -> None:
        self._flag.set()

    async def recover(self) -> None:
        """Look at once."""
        self._next_look = self._loop.time()

    def expect(self, seconds: float | None) -> None:
        """Somebody has asked the database: the next tick is that far away."""
        if seconds is not None and (at := self._loop.time() + seconds) < self._next_look:
            self._next_look = at
            self._flag.set()

    async def turn(self) -> None:
        wait = self._next_look - self._loop.time()
        if wait > 0:
            await wait_for_flag(self._flag, wait)
        if not self.stopping.is_set() and self._loop.time() >= self._next_look:
            await self.look()

    async def look(self) -> int:
        """Once: tick what is due; returns how many runs were started."""
        now, ids = self._loop.time(), self.ids
        self._next_look = now + LONGEST_WAIT  # whoever expects a tick while this looks is heard all the same
        if not ids:
            return 0
        if now >= self._next_touch:
            await self._store.touch(ids)
            self._next_touch = now + LONGEST_WAIT
        rows = await self._store.read(ids)
        if any(row["orphaned"] for row in rows):
            await self._schedules.adopt()
            rows = await self._store.read(self.ids)
        asked = self._loop.time()
        return await self._tick(rows, asked)

    async def _tick(self, rows: list[Any], asked: float) -> int:
        steps = [step for row in rows if (step := self._step(row)) is not None]
        moved, busy = await self._store.tick([step.tick for step in steps]) if steps else ({}, set[int]())
        for step in steps:
            if step.tick.id in moved:
                step.tell(moved[step.tick.id])
        waits = [LONGEST_WAIT, *(row["seconds"] for row in rows if (row["seconds"] or 0.0) > 0)]
        waits += [step.wait for step in steps if step.tick.id in moved]
        if len(moved) + len(busy) < len(steps):  # somebody else was quicker, or has changed the schedule
            waits.append(SHORTEST_WAIT)
        if busy:
            waits.append(BUSY_WAIT)
        self._next_look = min(self._next_look, asked + max(min(waits), SHORTEST_WAIT))
        if places := {place for ticked in moved.values() for place in ticked.places}:
            self._started(places)
        return sum(ticked.started for ticked in moved.values())

    def _step(self, row: Any) -> _Step | None:
        """What is to be done about a schedule; None if its time has not come, or its rule cannot be read here."""
        if row["seconds"] is None or row["seconds"] > 0:
            return None
        rule = TickRule(row["spec"], row["tz"])
        try:
            due = rule.due(row["next_at"], row["moment"], MOST_MADE_UP if row["missed"] == "all" else 1)
        except (ValueError, KeyError, OSError) as error:
            self._note_unreadable(row["name"], rule, error)
            return None
        late = (row["moment"] - due.ticks[-1]).total_seconds()
        runs = () if row["missed"] == "skip" and late > ON_TIME else due.ticks
        return _Step(
            Tick(row["id"], rule, row["next_at"], due.following, runs, row["limited"]), row["name"], row["missed"], due,
            wait=(due.following - row["moment"]).total_seconds(),
        )  # fmt: skip

    def _note_unreadable(self, name: str, rule: TickRule, error: Exception) -> None:
        if (name, rule) not in self._unreadable:
            self._unreadable.add((name, rule))
            logger.error(
                "schedule %r: its rule %r in the time zone %r, which another process has declared, cannot be read here "
                "(%s: %s); this process leaves it to others. Bring their releases and time zone databases together.",
                name, rule.spec, rule.tz, type(error).__name__, error,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Step:
    """A schedule that is to be moved on; ``wait`` is how many seconds after it was read its following tick comes."""

    tick: Tick
    name: str
    missed: str
    due: DueTicks
    wait: float

    def tell(self, ticked: Ticked) -> None:
        """Say what has become of ticks that were missed, and of those that have started no run."""
        runs, since, last = self.tick.runs, self.tick.tick.isoformat(), self.due.ticks[-1].isoformat()
        for why in ticked.refused[-1:]:
            logger.info("schedule %r: %d ticks have started no run: %s", self.name, len(ticked.refused), why)
        if there := len(runs) - ticked.started - len(ticked.refused):
            logger.warning("schedule %r: %d ticks had their runs already", self.name, there)
        if not runs:
            logger.warning("schedule %r: its ticks from %s to %s were missed and are skipped", self.name, since, last)
        elif self.due.more and self.missed == "all":
            logger.warning(
                "schedule %r: its ticks from %s to %s were missed; the newest %d are made up, the older ones are not",
                self.name, since, last, len(runs),
            )  # fmt: skip
        elif self.due.more:
            logger.warning("schedule %r: of its ticks from %s to %s only the last is run", self.name, since, last)
        elif len(runs) > 1:
            logger.warning("schedule %r: its %d ticks from %s to %s are made up", self.name, len(runs), since, last)
