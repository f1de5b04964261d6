"""Runs that spawn runs: each child once, and their results for whoever waits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.errors import CyclicSpawn, JobFailed, UnknownJob
from fastapi_events.model.context import current_flow
from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.job import Job
from fastapi_events.model.job_context import Child
from fastapi_events.model.run_failing import UNSUCCESSFUL, failed_run
from fastapi_events.model.run_sealing import seal_run
from fastapi_events.model.run_start import RunStart
from fastapi_events.store.families import FamilyStore


def _of(key: str) -> str:
    return f" of the key {key!a}" if key else ""


class Family:
    """Spawns, and reads children."""

    def __init__(
        self, store: FamilyStore, *, jobs: Mapping[str, Job[Any, Any]], number_of: Callable[[str], int],
        rules: Callable[[], PublishRules],
    ) -> None:  # fmt: skip
        self._store, self._jobs, self._number_of, self._rules = store, jobs, number_of, rules

    def seal(self, run: JobRun, job: Job[Any, Any], value: Any, on_parent_close: str) -> RunStart:
        """A child as it is to be stored."""
        parent = run.claim.run_id
        sealed = seal_run(job, self._number_of(job.name), value, current_flow(), self._rules())
        return sealed._replace(
            parent_id=parent, root_id=run.item.row["root_id"] or parent, on_parent_close=on_parent_close,
            source="parent", source_ref=str(parent),
        )  # fmt: skip

    async def spawn(self, run: JobRun, child: RunStart, *, name: str, number: int) -> bool:
        """Start a child with the record of its step; False if the run is not this worker's any more."""
        same = await self._store.same_ancestor(run.claim.run_id, child)
        if same is not None:
            raise CyclicSpawn(
                f"job {run.job.id!r}: spawn({child.name}, ...) with an input that run {same} above it has: that would "
                "never end. Give each run a part of what its parent has.",
            )
        await self._check_place(run, child)
        return await self._store.spawn(run.claim, child, name, number, given_of(child))

    async def _check_place(self, run: JobRun, child: RunStart) -> None:
        """Raise ``CyclicSpawn`` for a child that has to wait for the end of runs that wait for its own."""
        limits = child.limits
        if limits is None or limits.limit_key is None or limits.exclusive or child.on_parent_close == "abandon":
            return
        holders = await self._store.holders_above(run.claim.run_id, child)
        if len(holders) >= limits.slots:
            raise CyclicSpawn(
                f"job {run.job.id!r}: spawn({child.name}, ...) would have to wait for the end of run {holders[0]}, "
                f"with which it would end too: its Concurrency allows {limits.slots} at work{_of(limits.limit_key)}. "
                "Give it another key, or let it begin after that one with on_parent_close='abandon'."
            )

    async def results(self, parent: UUID, children: Sequence[Child[Any]]) -> tuple[int, list[Any] | None]:
        """The news of the parent, and the results if all have ended; raises for the first that has none."""
        rows = await self._store.children(parent, [child.run for child in children])
        news: int = rows[0]["news"] or 0 if rows else 0
        for row, child in zip(rows, children, strict=True):
            if row["state"] in UNSUCCESSFUL:
                raise failed_run(child.run, child.job, row["state"], row["problem"])
            if row["gone"]:
                raise JobFailed(f"run {child.run} of {child.job} is not kept any more, nor its result.", run=child.run)
        if any(row["state"] is None for row in rows):
            return news, None
        return news, [self._load(child, row["result"]) for row, child in zip(rows, children, strict=True)]

    def _load(self, child: Child[Any], text: str | None) -> Any:
        job = self._jobs.get(child.job)
        if job is None:
            raise UnknownJob(f"run {child.run} is one of {child.job}, which belongs to no module of this application.")
        if text is None:
            raise JobFailed(f"run {child.run} of {child.job}: its result is not kept any more.", run=child.run)
        return job.load_result(text)


@dataclass(frozen=True, slots=True)
class Spawned:
    """A child as the step of its spawning remembers it."""

    child: Child[Any]
    given: str
    """By what its input is told from others."""

    @property
    def job(self) -> str:
        """The job's name."""
        return self.child.job

    @classmethod
    def of(cls, row: Any) -> Spawned:
        """From the step's row."""
        kept = json.loads(row["result"])
        return cls(Child(UUID(kept["run"]), row["source"]), kept["input"])


def given_of(child: RunStart) -> str:
    """By what a child's input is told from others."""
    return hashlib.sha256(child.input.encode()).hexdigest()[:32]
