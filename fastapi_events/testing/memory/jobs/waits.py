"""What runs wait for, in memory: signals, and events of the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fastapi_events.model.lane import place_of
from fastapi_events.store.runs import RunClaim
from fastapi_events.store.steps import StepRecord
from fastapi_events.store.waits import Awaited, Matched, WaitStore
from fastapi_events.testing.memory.held_back import lock, settle
from fastapi_events.testing.memory.jobs.kept_run import KeptRun, KeptStep, KeptWait
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.log import MemoryLog, Row


class MemoryWaits(WaitStore):
    """A ``WaitStore`` without a database."""

    def __init__(self, runs: KeptRuns, log: MemoryLog) -> None:
        self._runs, self._log = runs, log
        runs.read_log(lambda: len(log.events))

    async def take_signal(
        self, claim: RunClaim, step: str, number: int, name: str, timeout: float | None
    ) -> tuple[Any, int] | None:  # fmt: skip
        def take(run: KeptRun) -> None:
            kept = run.steps.get(step) or self._wait(run, StepRecord(step, number, "signal", "waiting", name), timeout)
            place = next((at for at, (sent, _) in enumerate(run.signals) if sent == name), None)
            if kept.record.state == "waiting" and place is not None:
                self._done(kept, run.signals.pop(place)[1])

        return self._looked(claim, step, take)

    async def await_event(
        self, claim: RunClaim, step: str, number: int, awaited: Awaited, timeout: float | None
    ) -> tuple[Any, int] | None:  # fmt: skip
        def wait(run: KeptRun) -> None:
            kept, since = run.steps.get(step), run.heard
            if kept is None:
                since = len(self._log.events)
                kept = self._wait(run, StepRecord(step, number, "event", "waiting", awaited.source), timeout)
            if kept.record.state == "waiting" and step not in run.waits:
                run.waits[step] = KeptWait(awaited.name, awaited.key, frozenset(awaited.places), since)

        return self._looked(claim, step, wait)

    async def match(self, places: Collection[int] | None) -> Matched:
        with lock:
            settle()
            return Matched(sum([self._match(run, places) for run in self._runs.queued() if run.waits]))

    async def awaited(self) -> frozenset[int]:
        with lock:
            waits = [wait for run in self._runs.queued() for wait in run.waits.values()]
            return frozenset(place for wait in waits for place in wait.places)

    def _looked(
        self, claim: RunClaim, step: str, look: Callable[[KeptRun], None]
    ) -> tuple[dict[str, Any], int] | None:  # fmt: skip
        with lock:
            run = self._runs.own(claim)
            if run is None:
                return None
            look(run)
            return run.steps[step].row(self._runs.clock.now()), run.news

    def _match(self, run: KeptRun, places: Collection[int] | None) -> bool:
        found = False
        for step, wait in list(run.waits.items()):
            kept = run.steps.get(step)
            if kept is None or kept.record.state != "waiting":
                del run.waits[step]  # the time was over
            elif places is None or not wait.places.isdisjoint(places):
                event = next((row for row in self._log.events[wait.since :] if _is_awaited(row, wait)), None)
                if event is not None:
                    del run.waits[step]
                    self._done(kept, _told(event))
                    found = True
        if found:
            run.news_has_come()
        return found

    def _wait(self, run: KeptRun, record: StepRecord, timeout: float | None) -> KeptStep:
        now = self._runs.clock.now()
        due = None if timeout is None else now + timedelta(seconds=timeout)
        kept = run.steps[record.name] = KeptStep(record, due, now)
        return kept

    def _done(self, kept: KeptStep, result: str) -> None:
        kept.record, kept.changed_at = replace(kept.record, state="done", result=result), self._runs.clock.now()


def _is_awaited(row: Row, wait: KeptWait) -> bool:
    here = place_of(row["lane"], row["partition"]) in wait.places
    return here and row["name"] == wait.event_name and wait.key in (None, row["key"])


def _told(event: Row) -> str:
    others = event["other_versions"]
    return json.dumps(
        {
            "id": str(event["id"]), "version": event["version"], "payload": json.loads(event["payload"]),
            "other_versions": json.loads(others) if others else None,
        }
    )  # fmt: skip
