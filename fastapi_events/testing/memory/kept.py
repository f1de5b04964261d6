"""Everything that one instance on memory keeps, over its restarts."""

from __future__ import annotations

from collections.abc import Callable

from fastapi_events.testing.memory.clock import Clock
from fastapi_events.testing.memory.deliveries import Deliveries
from fastapi_events.testing.memory.jobs.announcing import announcement
from fastapi_events.testing.memory.jobs.kept_run import KeptEnd, KeptRun
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.schedules import KeptSchedule
from fastapi_events.testing.memory.log import MemoryLog
from fastapi_events.testing.memory.marks import MemoryMarks


class Kept:
    """What memory keeps: log, schedule, deliveries, marks, runs, and the clock that they go by."""

    def __init__(self) -> None:
        self._told: Callable[[], None] | None = None
        self.clock = Clock()
        self.runs = KeptRuns(self.clock, self.changed)
        self.schedules: list[KeptSchedule] = []
        self.log = MemoryLog(self.clock, self.runs, self.changed)
        self.runs.when_announced(self._announce)
        self.deliveries = Deliveries(self.clock.now)
        self.marks = MemoryMarks()
        self.read = 0
        """How many events of the log have been read."""
        self.clock.when_moved(self.changed)

    def changed(self) -> None:
        """There may be something to do."""
        if self._told is not None:
            self._told()

    def _announce(self, run: KeptRun, end: KeptEnd) -> None:
        self.log.append_now([announcement(run, end, self.runs.job_name(run.start.job_id))])

    def tell(self, call: Callable[[], None] | None) -> None:
        """Have ``call`` told of it, in whichever thread it happens."""
        self._told = call
