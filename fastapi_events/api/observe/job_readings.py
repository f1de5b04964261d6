"""The facade's readings of jobs: each in one bounded read-only transaction, as its others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from fastapi_events.api.observe.filters import checked_id
from fastapi_events.api.observe.given import aware
from fastapi_events.api.observe.history import MAX_ATTEMPTS
from fastapi_events.api.observe.job_shaping import job_view, progress_of, run_fields, run_summary, why_not_running
from fastapi_events.api.observe.job_views import (
    DeadRunGroup,
    JobSigns,
    JobView,
    MatchingRuns,
    PoolView,
    PoolWorker,
    RunAttempt,
    RunDetail,
    RunEdit,
    RunningRun,
    RunPage,
    RunSignal,
    RunStep,
    RunSummary,
)
from fastapi_events.api.observe.page_size import page_size
from fastapi_events.api.observe.run_filters import RunsFilter, parse_run_filter
from fastapi_events.api.observe.run_log import (
    LogLevel,
    RunLogPage,
    checked_level,
    checked_places,
    line_count,
    log_page,
)
from fastapi_events.api.observe.run_search import RunAct, RunSearch, acted_on
from fastapi_events.api.observe.shaping import view_of
from fastapi_events.errors import InvalidFilter, NotFound
from fastapi_events.settings.concurrency import RESERVED_POOLS
from fastapi_events.store.readings import Reader
from fastapi_events.store.run_readings import ENDED, PUT_OFF

JOB_COUNT_LIMIT = 1_000
"""Where counting a job's runs stops; a count that reaches it means "or more"."""
FAILED_LATELY = 86_400.0
"""Seconds for which a run that has failed counts among the failed ones of its job."""
COMPLETED_LATELY = 3_600.0
"""Seconds for which a run that has completed counts among those of its job that have lately."""
MAX_STEPS = 500
MOST_MATCHING = 10_000
"""Runs that one action on all that match changes, at most."""
_MAX_GROUPS = 100
_DEAD_LOOKED_AT = 1_000
_MAX_JOBS = 1_000
_MAX_RELATED = 50
_MAX_WORKERS = 1_000


class JobReadings:
    """Jobs, runs and pools, as ``Observe`` shows them."""

    _tenants: tuple[str, ...] | None

    def _reading(self) -> AbstractAsyncContextManager[Reader]:
        raise NotImplementedError

    def _shown_group(self) -> str | None:
        raise NotImplementedError

    async def jobs(self) -> Sequence[JobView]:
        """Every job of the group with its load, by name. Within tenants, without what is the fleet's."""
        async with self._reading() as reader:
            known = await self._known(reader)
            if self._tenants is not None:
                return [job_view(dict(row) | {"processes": None}, None) for row in known]
            counts = await job_counts(reader, known)
        return [job_view(row, counts[row["id"]]) for row in known]

    async def runs(self, where: str | RunsFilter = "", *, cursor: str | None = None, limit: int = 50) -> RunPage:
        """A page of runs, the newest first; ``where`` as in ``"job:inventory.restock state:failed"``."""
        wanted, size = parse_run_filter(where) if isinstance(where, str) else where, page_size(limit)
        async with self._reading() as reader:
            return await self._search(reader, await self._known(reader)).page(wanted, cursor, size)

    async def matching_runs(
        self, act: RunAct, where: str | RunsFilter, *, cut_off: datetime | None = None, limit: int = MOST_MATCHING
    ) -> MatchingRuns:
        """The runs that match and that an action can be about, ``limit`` at most, as they were at ``cut_off`` (now).

        To ``cancel`` are those that have not ended, to ``retry`` or ``discard`` those that are dead, or of a state that
        the filter names. Raises ``InvalidFilter``, also for a filter without terms, for a state that does not go with
        it, and where too few match of too many.
        """
        wanted = parse_run_filter(where) if isinstance(where, str) else where
        if not wanted.terms:
            raise InvalidFilter("Acting on all runs needs a filter, such as job:inventory.restock.")
        acted_on(act, wanted)
        async with self._reading() as reader:
            moment = await reader.row("schedules/read_moment")
            until = moment[0] if cut_off is None else aware("cut_off", cut_off, kind=InvalidFilter)
            return await self._search(reader, await self._known(reader)).matching(act, wanted, until, limit)

    async def job_signs(self) -> JobSigns:
        """How many jobs the group has, and how many of their runs are dead: counted up to 1,000 for each job."""
        async with self._reading() as reader:
            row = await reader.row("jobs/count_dead_runs", self._shown_group(), JOB_COUNT_LIMIT, self._tenants)
        return view_of(JobSigns, row)

    async def dead_run_groups(self) -> Sequence[DeadRunGroup]:
        """The newest dead runs of each job by cause, the largest group first."""
        async with self._reading() as reader:
            known = {row["id"]: row for row in await self._known(reader)}
            rows = await reader.rows(
                "jobs/read_dead_run_groups", list(known), _DEAD_LOOKED_AT, _MAX_GROUPS, self._tenants
            )
        jobs = [known[row["job_id"]] for row in rows]
        return [
            view_of(DeadRunGroup, row, job=job["name"], group=job["group_name"])
            for row, job in zip(rows, jobs, strict=True)
        ]

    async def run(self, run_id: UUID | str) -> RunDetail | None:
        """One run with input, result, steps, attempts, parent and children; None if there is none."""
        run_id = checked_id(run_id, "run_id")
        async with self._reading() as reader:
            known = {row["id"]: row for row in await self._known(reader)}
            [row] = await self._related(reader, known, [run_id]) or [None]
            return None if row is None else await self._detail(reader, known, row)

    async def run_logs(
        self, run_id: UUID | str, *, before: int | None = None, after: int | None = None,
        level: LogLevel | None = None, limit: int = 200,
    ) -> RunLogPage | None:  # fmt: skip
        """What a run has said: the last ``limit`` lines (1,000 at most), those before a line, or those after one.

        ``before`` and ``after`` are numbers that an earlier page gave, ``level`` is the lowest that is wanted. Lines
        come in their order. To follow a run, go on with ``after=page.newest`` until ``page.ended``. None if there is no
        such run.
        """
        run_id, size, lowest = checked_id(run_id, "run_id"), line_count(limit), checked_level(level)
        before, after = checked_places(before, after)
        async with self._reading() as reader:
            known = {row["id"]: row for row in await self._known(reader)}
            [row] = await self._related(reader, known, [run_id]) or [None]
            if row is None:
                return None
            return await log_page(reader, run_id, before, after, lowest, size, ended=row["state"] in ENDED)

    async def chosen_runs(self, run_ids: Sequence[UUID]) -> Sequence[RunSummary]:
        """These runs, in this order; raises ``NotFound`` if one is none that people of these tenants may see."""
        async with self._reading() as reader:
            known = {row["id"]: row for row in await self._known(reader)}
            found = [run_summary(row) for row in await self._related(reader, known, run_ids)]
        seen = {run.id for run in found}
        if unknown := next((one for one in run_ids if one not in seen), None):
            raise NotFound(f"There is no run {unknown}. Nothing was changed.")
        return found

    async def pools(self, *, reserved: bool = False) -> Sequence[PoolView]:
        """The pools of the group's jobs and of its live processes, by name. Within tenants, as of processes, none.

        With ``reserved`` also those of lanes and replays.
        """
        if self._tenants is not None:
            return []
        async with self._reading() as reader:
            known = await self._known(reader)
            counts = await job_counts(reader, known)
            workers = await reader.rows("jobs/read_pool_workers", self._shown_group(), _MAX_WORKERS)
            runs = await reader.rows("jobs/read_running_runs", [row["id"] for row in known], _MAX_RELATED)
            said = await reader.rows("jobs/read_set_pools", self._shown_group())
        names = {(row["group_name"], row["pool"]) for row in [*known, *workers]}
        set_to = {(row["group_name"], row["pool"]): row["concurrency"] for row in said}
        return [
            _pool(group, name, known, counts, workers, runs, set_to.get((group, name)))
            for group, name in sorted(names)
            if reserved or name not in RESERVED_POOLS
        ]

    def _search(self, reader: Reader, known: Sequence[Any]) -> RunSearch:
        return RunSearch(reader, known, self._shown_group(), self._tenants)

    async def _known(self, reader: Reader) -> Sequence[Any]:
        return await known_jobs(reader, self._shown_group())

    async def _related(self, reader: Reader, known: dict[int, Any], ids: Sequence[UUID]) -> list[Any]:
        """The runs of these that may be seen, in their order."""
        if not ids:
            return []
        rows = {row["id"]: row for row in await reader.rows("jobs/read_run_summaries", ids)}
        return [row for one in ids if (row := rows.get(one)) is not None and self._may_be_seen(row, known)]

    def _may_be_seen(self, row: Any, known: dict[int, Any]) -> bool:
        return row["job_id"] in known and (self._tenants is None or row["tenant_id"] in self._tenants)

    async def _detail(self, reader: Reader, known: dict[int, Any], row: Any) -> RunDetail:
        run_id = row["id"]
        content = await reader.row("jobs/read_run_content", run_id)
        found = await reader.rows("jobs/read_run_steps", run_id, MAX_STEPS + 1)
        steps = tuple(view_of(RunStep, step) for step in found[:MAX_STEPS])
        signals = await reader.rows("jobs/read_run_signals", run_id, _MAX_RELATED)
        attempts = await reader.rows("jobs/read_run_attempts", run_id, MAX_ATTEMPTS)
        edits = await reader.rows("jobs/read_run_edits", run_id, _MAX_RELATED)
        children = await reader.rows("jobs/list_runs_of_parent", run_id, None, _MAX_RELATED + 1)
        spawned = await self._related(reader, known, [child["id"] for child in children[:_MAX_RELATED]])
        parents = await self._related(reader, known, [row["parent_id"]] if row["parent_id"] else [])
        own = (
            "input", "result", "result_until", "source_ref", "causation_id", "event_id", "trigger", "schedule_id",
            "schedule", "scheduled_for", "traceparent", "depth",
        )  # fmt: skip
        return view_of(
            RunDetail, row, **run_fields(row) | {name: content[name] for name in own},
            result_expired=bool(content["result_expired"]), progress=progress_of(content),
            why=why_not_running(row, known[row["job_id"]]["processes"], steps, attempts), crashes=row["crashes"] or 0,
            steps=steps, more_steps=len(found) > MAX_STEPS,
            signals=tuple(view_of(RunSignal, signal) for signal in signals),
            history=tuple(view_of(RunAttempt, one) for one in attempts),
            edits=tuple(view_of(RunEdit, one) for one in edits),
            parent=run_summary(parents[0]) if parents else None,
            children=tuple(run_summary(child) for child in spawned), more_children=len(children) > _MAX_RELATED,
        )  # fmt: skip


async def known_jobs(reader: Reader, group: str | None) -> Sequence[Any]:
    """The jobs of a group (None: of every group), by name."""
    return await reader.rows("jobs/read_jobs", group, _MAX_JOBS)


async def job_counts(reader: Reader, known: Sequence[Any]) -> dict[int, Any]:
    """What each of these jobs has to do, and how it goes, by its number."""
    jobs = [row["id"] for row in known]
    rows = await reader.rows(
        "jobs/read_job_counts", jobs, JOB_COUNT_LIMIT, FAILED_LATELY, list(PUT_OFF), COMPLETED_LATELY
    )
    return {row["id"]: row for row in rows}


def _pool(
    group: str, name: str, known: Sequence[Any], counts: dict[int, Any], workers: Sequence[Any], runs: Sequence[Any],
    set_to: int | None,
) -> PoolView:  # fmt: skip
    jobs = {row["id"]: cast("str", row["name"]) for row in known if (row["group_name"], row["pool"]) == (group, name)}
    own = [row for row in workers if (row["group_name"], row["pool"]) == (group, name)]
    return PoolView(
        name=name, group=group, jobs=tuple(jobs.values()), concurrency=sum(row["concurrency"] for row in own),
        set_to=set_to, reserved=name in RESERVED_POOLS,
        ready=min(sum(counts[job]["ready"] for job in jobs), JOB_COUNT_LIMIT),
        running=min(sum(counts[job]["running"] for job in jobs), JOB_COUNT_LIMIT),
        workers=tuple(view_of(PoolWorker, row) for row in own),
        runs=tuple(view_of(RunningRun, row, job=jobs[row["job_id"]]) for row in runs if row["job_id"] in jobs),
    )  # fmt: skip
