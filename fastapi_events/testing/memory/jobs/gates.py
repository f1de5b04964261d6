"""The gates of limited runs, in memory: whoever asks counts anew, so no turn need be kept for anybody."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from fastapi_events.store.run_gates import GateRule, Opened, RunGates
from fastapi_events.testing.memory.held_back import lock
from fastapi_events.testing.memory.jobs.kept_run import KeptRun
from fastapi_events.testing.memory.jobs.runs import KeptRuns


class MemoryGates(RunGates):
    """``RunGates`` without a database."""

    def __init__(self, runs: KeptRuns) -> None:
        self._runs = runs

    async def open(self, rules: Sequence[GateRule], room: int) -> Opened:
        with lock:
            ready, moved, waits = 0, False, list[float]()
            for rule in rules:
                for gate, runs in self._gated(rule.job_id).items():
                    free, wait = self._free(rule, gate, len(runs), room)
                    for run in runs[:free]:
                        moved |= gate.startswith("c")
                        ready += _passed(run, gate)
                    if wait is not None:
                        waits.append(wait)
            return Opened(ready, moved, min(waits, default=None))

    async def call(self, rule: GateRule) -> int:  # noqa: ARG002
        return 0  # no turn can be lost

    async def prune(self) -> None:
        """What stands for nothing costs nothing."""

    def _gated(self, job_id: int) -> dict[str, list[KeptRun]]:
        """Who waits at which gate, in their order."""
        found: dict[str, list[KeptRun]] = {}
        waiting = [run for run in self._runs.queued() if run.place == "g" and run.start.job_id == job_id]
        for run in sorted(waiting, key=lambda run: (-run.start.priority, run.number)):
            found.setdefault(str(run.gate), []).append(run)
        return found

    def _free(self, rule: GateRule, gate: str, waiting: int, room: int) -> tuple[int, float | None]:
        """How many may pass now, and in how many seconds the next one may, if all of them may not."""
        if gate.startswith("c"):
            return (waiting if rule.slots is None else max(rule.slots - self._at_work(rule.job_id, gate[1:]), 0)), None
        if rule.spacing is None or rule.span is None:
            return waiting, None
        now, key = self._runs.clock.now(), (rule.job_id, gate)
        arrival = max(self._runs.arrivals.get(key, now), now)
        allowed = max(int((rule.span - (arrival - now).total_seconds()) / rule.spacing + 1e-6), 0)
        passing = min(allowed, waiting, room)
        arrival = self._runs.arrivals[key] = arrival + timedelta(seconds=passing * rule.spacing)
        if passing == waiting:
            return passing, None
        return passing, max((arrival - now).total_seconds() + rule.spacing - rule.span, 0.0)

    def _at_work(self, job_id: int, key: str) -> int:
        return sum(run.holds and run.start.job_id == job_id and run.limit_key == key for run in self._runs.queued())


def _passed(run: KeptRun, gate: str) -> bool:
    """Let a run through a gate; whether that was its last one."""
    run.holds = True
    run.gate = f"r{run.rate_key}" if gate.startswith("c") and run.rate_key is not None else None
    run.place = "r" if run.gate is None else "g"
    return run.gate is None
