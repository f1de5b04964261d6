"""A run as a crew works it off: a chain of one attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi_events.engine.away import Away
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome

if TYPE_CHECKING:
    from fastapi_events.engine.jobs.pool import JobPool


class OneRun:
    """A chain of one attempt."""

    __slots__ = ("_pool", "begun", "run")

    def __init__(self, pool: JobPool, run: JobRun) -> None:
        self._pool, self.run, self.begun = pool, run, False

    def next(self) -> Run | None:
        if self.begun:
            return None
        self.begun = True
        self._pool.began()
        return self.run if self._pool.may_begin(self.run) else None

    def settle(self, run: Run, outcome: Outcome) -> None:
        if isinstance(run, JobRun):
            self._pool.ended(run, outcome)

    def detach(self, away: Away) -> None:
        """Nobody detaches a run: there is nothing behind it."""

    def release(self) -> None:
        if not self.begun:
            self.begun = True
            self._pool.began()
            self._pool.ended(self.run, Outcome("interrupted"))
