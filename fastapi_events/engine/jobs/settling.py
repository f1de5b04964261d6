"""Recording what became of runs: while one statement is under way others gather, and the next one takes them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from fastapi_events.engine.failure import failure_of, fingerprint_of
from fastapi_events.engine.infrastructure import is_held_up, is_refusal
from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.jobs.log_keeping import LogKeeping
from fastapi_events.engine.jobs.run_log import RunLines
from fastapi_events.engine.patience import patiently
from fastapi_events.engine.service import Loop
from fastapi_events.model.lane import AUDIT, LogPlace, place_of
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.run_start import AWAITING, CANCELED, RUNS
from fastapi_events.store.runs import RunClaim, RunQueue, RunResult, Settled, parts

ENDS_ANNOUNCED = place_of(AUDIT, 0)
"""Where statements that end runs put the audit events of it."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
"""Seconds until what was held up is tried again; longer while it stays so."""


class Settling(Loop):
    """Records results. What cannot be recorded stays in hand, and is tried again until it can.

    What somebody else holds up is put off by itself, and holds nothing else up.
    """

    name = "settling of runs"

    def __init__(
        self, queue: RunQueue, logs: LogKeeping, *, settled: Callable[[Collection[RunClaim]], None],
        published: Callable[[Collection[LogPlace]], None], ready: Callable[[], None], lost: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._queue, self._logs, self._settled, self._lost = queue, logs, settled, lost
        self._lines: dict[RunClaim, RunLines] = {}
        """What is to be kept of what attempts have said, before they are recorded."""
        self._published, self._ready = published, ready
        self._results: dict[RunClaim, RunResult] = {}
        """What is to be recorded, until it is."""
        self._put_off: set[RunClaim] = set()
        self._behind: dict[RunClaim, int] = {}
        """What is recorded only after so many of its steps are."""
        self._patience = FIRST_PAUSE
        self._wanted, self._empty = asyncio.Event(), asyncio.Event()
        self._empty.set()

    def add(
        self, result: RunResult, lines: RunLines | None = None, after: Collection[asyncio.Future[Any]] = ()
    ) -> None:
        """Have it recorded soon, and before it what the attempt has said, and what is under way (``after``)."""
        if lines is not None:
            self._lines[result.claim] = lines
        self._results[result.claim] = result
        self._empty.clear()
        if after:
            self._behind[result.claim] = len(after)
            for one in after:
                one.add_done_callback(lambda _: self._one_less(result.claim))
        self._wanted.set()

    def _one_less(self, claim: RunClaim) -> None:
        self._behind[claim] -= 1
        if not self._behind[claim]:
            del self._behind[claim]
            self._wanted.set()

    def drop(self, lines: RunLines | None) -> None:
        """Nothing more that an attempt has said counts: it is recorded, or somebody else has its run."""
        if lines is not None:
            self._logs.forget(lines)

    async def flushed(self) -> None:
        """Return when everything is recorded."""
        await self._empty.wait()

    def interrupt(self) -> None:
        self._wanted.set()

    async def turn(self) -> None:
        await self._wanted.wait()
        self._wanted.clear()
        await self._flush()

    async def recover(self) -> None:
        """Try again what could not be recorded."""
        if self._results:
            self._wanted.set()

    async def _flush(self) -> None:
        while results := self._due():
            if lines := self._lines:
                await self._logs.settle([lines[result.claim] for result in results if result.claim in lines])
            for part in parts(results):
                if part:
                    await self._record(part)
                if part and part[0].alone and part[0].claim in self._put_off:
                    break  # it has waited: before the next one does, whatever has ended meanwhile is recorded
        if not self._results:
            self._empty.set()

    def _due(self) -> list[RunResult]:
        if not self._put_off and not self._behind:
            return list(self._results.values())
        held = self._put_off.union(self._behind)
        return [result for claim, result in self._results.items() if claim not in held]

    async def _record(self, results: Sequence[RunResult]) -> None:
        try:
            settled = await patiently(lambda: self._settle(results))
        except Exception as error:
            if not is_refusal(error):
                raise
            if len(results) > 1:
                # One of them is refused, for ever: it is found by halves, and the others are recorded.
                half = len(results) // 2
                await self._record(results[:half])
                await self._record(results[half:])
                return
            dead = [_as_failed(results[0], Outcome("dead", reason="unsettleable", failure=failure_of(error)))]
            settled = await patiently(lambda: self._settle(dead))
        self._note(results, settled)

    async def _settle(self, results: Sequence[RunResult]) -> Settled:
        try:
            return await self._queue.settle(results)
        except Exception as error:
            if not is_held_up(error):
                raise
            return Settled(set(), {result.claim for result in results})

    def _note(self, results: Sequence[RunResult], settled: Settled) -> None:
        over = [result.claim for result in results if result.claim not in settled.put_off]
        self._settled(over)
        for claim in over:
            if self._results.pop(claim).put_off:
                self._patience = FIRST_PAUSE
            self.drop(self._lines.pop(claim, None))
        self._tell([result for result in results if result.claim in settled.recorded], canceled=settled.canceled)
        if len(settled.recorded) < len(over):
            self._lost(len(over) - len(settled.recorded))
        if settled.put_off:
            self._try_again(settled.put_off)

    def _try_again(self, claims: Collection[RunClaim]) -> None:
        """Later, and then without waiting for anybody."""
        for claim in claims:
            self._results[claim].put_off += 1
        if not self._put_off:
            asyncio.get_running_loop().call_later(self._patience, self._later)
            self._patience = min(self._patience * 2, LONGEST_PAUSE)
        self._put_off.update(claims)

    def _later(self) -> None:
        self._put_off.clear()
        self._wanted.set()

    def _tell(self, settled: Sequence[RunResult], *, canceled: bool) -> None:
        """What has come true, and what is to be tried again, is somebody's work now."""
        places = {child.place for result in settled for child in result.children}
        if places:
            self._published(places)
        if any(result.awaits for result in settled):
            self._published({place_of(RUNS, AWAITING)})
        self.tell(
            ready=any(result.state is None or result.relatives or result.limited for result in settled),
            cancels=canceled or any(result.family for result in settled),
            announced=any(result.announced for result in settled),
        )

    def tell(self, *, ready: bool, cancels: bool, announced: bool) -> None:
        """Have it known that runs can be claimed, that some are to be cancelled, or that ends are audit events."""
        if ready:
            self._ready()
        if cancels:
            self._published({place_of(RUNS, CANCELED)})
        if announced:
            self._published({ENDS_ANNOUNCED})


def result_of(run: JobRun, outcome: Outcome) -> RunResult:
    """What is to be recorded of an attempt."""
    result = _result_of(run, outcome)
    result.family, result.relatives, result.parent = run.family, run.has_relatives, run.item.row["parent_id"]
    result.in_doubt = run.leaves_doubt(outcome)
    result.announced = run.job.announces and result.state is not None
    return result


def _lasted(run: JobRun) -> float:
    """For how long the run has been at work, as who has succeeded does not say."""
    return 0.0 if run.began is None else asyncio.get_running_loop().time() - run.began


def _result_of(run: JobRun, outcome: Outcome) -> RunResult:
    kind = outcome.kind
    if kind == "done":
        return RunResult(
            run.claim, run.job.number, run.redrives, "completed", run.attempts, run.result, run.job.keep_result,
            outcome.duration or _lasted(run), limited=run.job.limited, children=outcome.children,
        )  # fmt: skip
    if kind == "suspended":
        return RunResult(
            run.claim, run.job.number, run.redrives, None, run.attempts - 1, duration=outcome.duration,
            delay=outcome.delay, seen=run.seen, wakes=run.wakes, awaits=run.awaits, holds=True,
        )  # fmt: skip
    what, spent = outcome.failure, outcome.spent
    attempts = run.attempts if spent else run.attempts - 1
    result = RunResult(
        run.claim, run.job.number, run.redrives, _state_of(outcome), attempts, duration=outcome.duration,
        limited=run.job.limited,
    )  # fmt: skip
    result.delay, result.unspent, result.reason, result.note = outcome.delay, not spent, outcome.reason, outcome.note
    if what is not None:
        result.error_type, result.error_message = what.error_type, what.message
        result.fingerprint = fingerprint_of(what)
    record = {"run_id": str(run.claim.run_id), "number": run.attempts, "outcome": kind, "duration": outcome.duration}
    about = (what.error_type, what.message, what.traceback) if what else (None, outcome.note, None)
    result.records.append(record | dict(zip(("error_type", "error_message", "traceback"), about, strict=True)))
    return result


def _state_of(outcome: Outcome) -> str | None:
    if outcome.kind == "dead":
        return "timed_out" if outcome.reason == "timed_out" else "failed"
    return "canceled" if outcome.kind == "discarded" else None


def _as_failed(result: RunResult, outcome: Outcome) -> RunResult:
    what = outcome.failure
    return RunResult(
        result.claim, result.job, result.redrives, "failed", result.attempts, duration=result.duration,
        reason=outcome.reason, error_type=what.error_type if what else None,
        error_message=what.message if what else None, family=result.family, relatives=result.relatives,
        parent=result.parent, limited=result.limited, announced=result.announced,
    )  # fmt: skip
