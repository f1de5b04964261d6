"""A pool: claims runs of its jobs, and has as many at work at once as its number says.

What is claimed beyond that number is what is expected to begin within a moment, by the rate of late; what has not begun
then is given back, so that no run waits in one process while another one has nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Any

from fastapi_events.engine.chain import Runs
from fastapi_events.engine.crew import Crew
from fastapi_events.engine.jobs.admission import Admission
from fastapi_events.engine.jobs.alone import Alone
from fastapi_events.engine.jobs.job_report import report
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.job_secrecy import discreet
from fastapi_events.engine.jobs.one_run import OneRun
from fastapi_events.engine.jobs.rate import Rate
from fastapi_events.engine.jobs.ready_job import JobPlan, ReadyJob
from fastapi_events.engine.jobs.settling import Settling, result_of
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import wait_for_flag
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.doubt import IN_DOUBT
from fastapi_events.store.runs import ANY_CRASHES, RunClaim, RunQueue

AHEAD = 0.05
"""Seconds of work that a pool claims ahead."""
PATIENCE = 0.25
"""Seconds after which what has been claimed and not begun is given back."""
UNRECORDED = 4
"""Batches that may be in hand beyond those at work: their ends are being recorded, slower than others would begin."""
LONGEST_WAIT = 3600.0
"""Seconds between two claims at most: nobody has told of a run for so long, not even the lookout."""


class JobPool(Loop):
    """Runs jobs of one pool."""

    def __init__(
        self, pool: str, queue: RunQueue, plan: JobPlan, executor: Runs, settling: Settling, admission: Admission,
        alone: Alone, flag: asyncio.Event, *, concurrency: int, batch_size: int, cancel_grace: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.pool = f"pool {pool}", pool
        self._queue, self._plan, self._executor, self._settling, self._flag = queue, plan, executor, settling, flag
        self._admission, self._next_turn = admission, math.inf
        self._batch_size, self._cancel_grace, self._alone = batch_size, cancel_grace, alone
        self._unrecorded = UNRECORDED * batch_size
        self._loop = asyncio.get_running_loop()
        self._last_begin = self._loop.time()
        self._last_told = -math.inf
        self._crew = Crew(executor, concurrency, None)
        self.in_hand: dict[RunClaim, JobRun] = {}
        """Everything claimed and not recorded yet. A run that was lost may come back, as another claim."""
        self._unbegun = 0
        self._in_doubt: list[JobRun] = []
        self._may_have_more = True
        self._rate = Rate()

    @property
    def claims(self) -> list[RunClaim]:
        """What is in hand."""
        return list(self.in_hand)

    @property
    def jobs(self) -> list[ReadyJob]:
        """The jobs whose runs it claims now."""
        return self._plan.of_pool(self.pool)

    @property
    def concurrency(self) -> int:
        """How many runs it has at work at once, from now on; those above are finished."""
        return self._crew.limit

    @concurrency.setter
    def concurrency(self, limit: int) -> None:
        self._crew.limit, self._crew.fewer = limit, True
        self.look()

    def interrupt(self) -> None:
        self._flag.set()

    async def recover(self) -> None:
        """Look anew: what this loop believed to have seen may not be so."""
        self.look()

    def look(self) -> None:
        """Claim now, whatever the last look found."""
        self._may_have_more = True
        self._flag.set()

    async def turn(self) -> None:
        if not self._may_have_more or self._room() <= 0:
            wait = self._next_turn if self._room() > 0 else LONGEST_WAIT
            await wait_for_flag(self._flag, min(wait, PATIENCE if self._unbegun else LONGEST_WAIT))
        self._flag.clear()
        if self.stopping.is_set():
            return
        if self._unbegun and self._loop.time() - self._last_begin > PATIENCE:
            await self._give_back()
        await self._claim()

    async def drain(self, at_once: int | None = None) -> int:
        """Run what is ready now, ``at_once`` of it at most, until nothing is; returns the number of attempts."""
        made = 0
        while claimed := await self._claim(at_once):
            made += claimed
            await self._crew.rest()
            await self._settling.flushed()
        return made

    async def stop(self, grace: float = 5.0) -> None:
        """Begin no run more, give back what has not begun, let the others finish for ``grace`` seconds."""
        await super().stop()
        await self._give_back()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._crew.rest()
        self._crew.interrupt()
        await self._crew.rest()

    def lost(self, claim: RunClaim) -> None:
        """Somebody else has this run: whatever comes of the attempt here is nothing."""
        run = self._drop(claim)
        if run is not None:
            self._give_up(run, Outcome("interrupted"))

    def cancel(self, claim: RunClaim, reason: str) -> None:
        """Cancel a run that is at work."""
        run = self.in_hand.get(claim)
        if run is None or run.canceled is not None:
            return
        run.canceled = reason
        hand = next((hand for hand in self._crew.hands if hand.run is run), None)
        if hand is not None and hand.task is not None:
            hand.task.cancel()
            self._loop.call_later(self._cancel_grace, self._give_up, run, Outcome("discarded", note=reason))

    def forget(self, claim: RunClaim) -> None:
        """What became of it is recorded."""
        if self._drop(claim) is not None:
            self._flag.set()

    def _drop(self, claim: RunClaim) -> JobRun | None:
        run = self.in_hand.pop(claim, None)
        if run is not None and run.suspect:
            self._alone.leave(run)
        return run

    def _room(self) -> int:
        ahead = min(math.ceil(self._rate.per_second() * AHEAD), self._batch_size)
        at_work = len(self._crew.hands) + self._unbegun
        return self._crew.limit + min(ahead - at_work, self._unrecorded - len(self.in_hand))

    async def _claim(self, at_most: int | None = None) -> int:
        await self._judge()
        jobs = self.jobs
        room = self._room() if at_most is None else min(self._room(), at_most)
        if not jobs or room <= 0:
            self._may_have_more = False
            return 0
        opened = await self._admission.open(jobs, room)
        self._next_turn = math.inf if opened.seconds is None else max(opened.seconds, 0.0)
        crashes = ANY_CRASHES if self._may_run_alone() else IN_DOUBT
        rows = await self._queue.claim({job.number: room for job in jobs}, room, crashes)
        self._may_have_more = len(rows) == room or opened.more
        for row in rows:
            self._take(self._plan.by_number[row["job_id"]], row)
        if rows and rows[0].get("leaves"):
            self._leave_to_others()
        return len(rows) - await self._judge()

    def _leave_to_others(self) -> None:
        """Tell of runs that this claim kept from others for a moment and has not taken; once in a while, if full."""
        if self._room() <= 0 and self._loop.time() - self._last_told > PATIENCE:
            self._last_told = self._loop.time()
            self._settling.tell(ready=True, cancels=False, announced=False)

    def _take(self, job: ReadyJob, row: Any) -> None:
        run = JobRun(job, row)
        self.in_hand[run.claim] = run
        if row["cancel_reason"] is not None:
            self._record(run, Outcome("discarded", note=row["cancel_reason"]))
        elif row["crashes"] >= IN_DOUBT:
            self._in_doubt.append(run)
        else:
            self._begin(run)

    def _may_run_alone(self) -> bool:
        """Whether a run in doubt could begin at once."""
        return self._alone.free and len(self._crew.hands) + self._unbegun < self._crew.limit

    async def _judge(self) -> int:
        """Decide about runs in doubt: one begins, if it can at once and alone; returns how many are given back."""
        runs, self._in_doubt = self._in_doubt, []
        if not runs:
            return 0
        try:
            verdict = await self._alone.judge(runs, room=self._may_run_alone())
        except BaseException:
            self._let_go(runs)
            raise
        for run, outcome in verdict.dead:
            self._record(run, outcome)
        for run in verdict.cleared:
            if run.claim in self.in_hand:
                self._begin(run)
            else:
                self._alone.leave(run)  # it was lost meanwhile
        await self._return(verdict.others)
        return len(verdict.others)

    def _begin(self, run: JobRun) -> None:
        if not self._unbegun:
            self._last_begin = self._loop.time()  # it has not been waiting yet
        self._unbegun += 1
        self._crew.add([OneRun(self, run)])

    def began(self) -> None:
        """A hand has begun with a run."""
        self._unbegun -= 1
        self._last_begin = self._loop.time()

    def may_begin(self, run: JobRun) -> bool:
        """Whether it is still this worker's, and nobody has cancelled it; it is ended if somebody has."""
        if run.claim not in self.in_hand:
            return False
        if run.canceled is not None:
            self.ended(run, Outcome("discarded", note=run.canceled))
            return False
        run.on_heartbeat = functools.partial(self._crew.restart_clock, run)
        return True

    def ended(self, run: JobRun, outcome: Outcome) -> None:
        """An attempt has come to this."""
        self._rate.note()
        if outcome.kind not in ("done", "duplicate"):
            outcome = discreet(outcome, run)
            report(run, outcome)
        self._record(run, outcome)
        if self._room() > 0:
            self._flag.set()

    def _record(self, run: JobRun, outcome: Outcome) -> None:
        if outcome.committed:
            self._drop(run.claim)
            self._settling.drop(run.lines)
            self._settling.tell(
                ready=run.has_relatives or run.job.limited, cancels=run.family, announced=run.job.announces
            )
        elif run.claim in self.in_hand:
            run.settling = True
            self._settling.add(result_of(run, outcome), run.lines, run.recording)
        else:
            self._settling.drop(run.lines)

    def _give_up(self, run: JobRun, outcome: Outcome) -> None:
        hand = next((hand for hand in self._crew.hands if hand.run is run), None)
        if hand is not None:
            self._crew.give_up(hand, outcome)

    async def _give_back(self) -> None:
        chains = [chain for chain in self._crew.take_back() if isinstance(chain, OneRun) and not chain.begun]
        self._unbegun -= len(chains)
        await self._return([chain.run for chain in chains])

    async def _return(self, runs: Sequence[JobRun]) -> None:
        """Give runs back that have not begun."""
        self._let_go(runs)
        if runs:
            await self._queue.release([run.claim for run in runs])
            self._settling.tell(ready=True, cancels=False, announced=False)

    def _let_go(self, runs: Sequence[JobRun]) -> None:
        """No longer in hand, whatever comes of giving it back: a lease that nobody renews runs out."""
        for run in runs:
            self._drop(run.claim)
