"""What runs say, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi_events.store.run_log import RunLogStore, Said
from fastapi_events.testing.memory.held_back import lock
from fastapi_events.testing.memory.jobs.runs import KeptRuns


class MemoryRunLog(RunLogStore):
    """A ``RunLogStore`` without a database."""

    def __init__(self, runs: KeptRuns) -> None:
        self._runs = runs

    async def keep(self, said: Sequence[Said]) -> set[UUID]:
        with lock:
            own = {one.claim.run_id: run for one in said if (run := self._runs.own(one.claim)) is not None}
            for one in said:
                if one.claim.run_id in own:
                    own[one.claim.run_id].lines += one.lines
            return set(own)

    async def count(self, run_ids: Sequence[UUID], most: int) -> dict[UUID, int]:
        with lock:
            found = {run_id: self._runs.find(run_id) for run_id in run_ids}
            return {run_id: 0 if run is None else min(len(run.lines), most) for run_id, run in found.items()}
