"""Runs that may end their process: of those in doubt one is at work at a time, so that the culprit shows itself.

A run in whose company processes have vanished is in doubt from the second time on, unless processes vanish anyway, and
counted against nobody. From then on it is run alone: its row says so before it begins, and who takes it over when that
process has vanished counts it. Whatever it comes to, a failure or a step, clears it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.outcomes import crashed
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.doubt import IN_DOUBT, MOST_ACCIDENTS, Doubt
from fastapi_events.store.runs import RunQueue

logger = logging.getLogger("fastapi_events")


@dataclass(slots=True)
class Verdict:
    """What is to be done with runs in doubt: some may begin, some are dead, and the others are to be given back."""

    cleared: list[JobRun] = field(default_factory=list[JobRun])
    dead: list[tuple[JobRun, Outcome]] = field(default_factory=list[tuple[JobRun, Outcome]])
    others: list[JobRun] = field(default_factory=list[JobRun])


class Alone:
    """The one place for such a run in a process, whatever its pool. ``freed`` is called when it is free again."""

    def __init__(self, queue: RunQueue, doubt: Doubt, max_crashes: int, *, freed: Callable[[], None]) -> None:
        self._queue, self._doubt, self._max_crashes, self._freed = queue, doubt, max_crashes, freed
        self._at_work: JobRun | None = None

    @property
    def free(self) -> bool:
        """Whether none is at work."""
        return self._at_work is None

    def leave(self, run: JobRun) -> None:
        """What has become of it is recorded, or it has not begun."""
        if self._at_work is run:
            self._at_work = None
            self._freed()

    async def judge(self, runs: Sequence[JobRun], *, room: bool) -> Verdict:
        """Decide about runs that are in hand; one of them takes the place, where there is ``room`` for it to begin."""
        crashes = [run.crashes for run in runs]
        accidents = await self._doubt.accidents(crashes, max(MOST_ACCIDENTS, 2 * self._max_crashes))
        verdict = Verdict()
        for run in runs:
            if run.crashes_alone >= self._max_crashes + min(accidents, 2 * self._max_crashes):
                verdict.dead.append((run, crashed(run.crashes_alone)))
            elif run.crashes < IN_DOUBT + min(accidents, MOST_ACCIDENTS) or (room and await self._take_place(run)):
                verdict.cleared.append(run)
            else:
                verdict.others.append(run)
        return verdict

    async def _take_place(self, run: JobRun) -> bool:
        if self._at_work is not None:
            return False
        self._at_work, run.suspect = run, True
        begins = False
        try:
            begins = await self._queue.begin_alone(run.claim)
        finally:
            if not begins:
                self.leave(run)
        if not begins:
            return False
        logger.warning(
            "%d processes in a row have vanished with the run %s of the job %r in hand: it is run alone now",
            run.crashes, run.claim.run_id, run.job.id,
        )  # fmt: skip
        return True
