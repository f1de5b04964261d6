"""Putting together what runs an instance's jobs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from fastapi_events.engine.executor import Executor
from fastapi_events.engine.handler_transaction import FencedTransactions
from fastapi_events.engine.jobs.family import Family
from fastapi_events.engine.jobs.job_executor import JobExecutor
from fastapi_events.engine.jobs.log_keeping import LogKeeping
from fastapi_events.engine.jobs.ready_job import JobPlan, compile_jobs
from fastapi_events.engine.jobs.schedules import Schedules
from fastapi_events.engine.jobs.side import JobSide
from fastapi_events.engine.jobs.tools import JobTools
from fastapi_events.engine.jobs.waits import Waits
from fastapi_events.engine.jobs.work import JobWork
from fastapi_events.engine.pool_numbers import PoolNumbers
from fastapi_events.engine.scheduler import Scheduler
from fastapi_events.engine.wake import Wake
from fastapi_events.model.lane import LogPlace, place_of
from fastapi_events.model.registry import Registry
from fastapi_events.model.run_start import READY, RUNS
from fastapi_events.plugin.backoff import retry_of
from fastapi_events.plugin.publishing import PUBLISHERS, Publishing
from fastapi_events.settings import EventsSettings
from fastapi_events.store.job_stores import JobStores


class Serving(Protocol):
    """What runs for an instance beside its jobs, on PostgreSQL or on memory."""

    @property
    def settings(self) -> EventsSettings: ...

    @property
    def worker(self) -> UUID: ...

    @property
    def partitions(self) -> int: ...

    @property
    def executor(self) -> Executor: ...

    @property
    def wake(self) -> Wake: ...

    @property
    def pool_numbers(self) -> PoolNumbers: ...

    @property
    def scheduler(self) -> Scheduler | None: ...

    def poll_interval(self) -> float: ...

    def committed(self, places: Collection[LogPlace], /) -> None: ...

    def lost(self, count: int, /) -> None: ...


def make_job_side(
    runtime: Serving, registry: Registry, publishing: Publishing, transactions: FencedTransactions | None,
    stores: JobStores,
) -> JobSide:  # fmt: skip
    """The jobs of an instance: their signatures read and their policies decided, nothing started."""
    settings = runtime.settings
    plan = JobPlan(
        compile_jobs(
            registry, given=PUBLISHERS, retry=retry_of(settings), timeout=settings.job_timeout,
            keep_result=settings.result_retention, announces=settings.announce_runs,
        )
    )  # fmt: skip
    family = Family(
        stores.families, jobs=registry.jobs, number_of=publishing.job_number, rules=lambda: publishing.rules
    )
    logs = LogKeeping(
        stores.logs, level=settings.run_log, most=settings.run_log_lines, captures=settings.run_log_capture
    )
    tools = JobTools(
        waits=Waits(stores.waits, registry, partitions=runtime.partitions), family=family, steps=stores.steps,
        transactions=transactions,
        connections=runtime.executor.connections, threads=runtime.executor.threads, givers=PUBLISHERS,
        make_giver=publishing.for_run, bind_giver=publishing.on_session, collect=publishing.collecting,
        committed=runtime.committed, max_size=settings.max_payload_size, logs=logs,
    )  # fmt: skip
    executor = JobExecutor(stores.completion, tools, cascade_depth=settings.cascade_depth)
    schedules = Schedules(
        stores.schedules, registry.schedules.values(), worker=runtime.worker, max_size=settings.max_payload_size
    )

    def scheduled(seconds: float | None) -> None:
        if runtime.scheduler is not None:
            runtime.scheduler.told(seconds)

    def make_work() -> JobWork:
        return JobWork(
            settings, stores, plan, executor, schedules, runtime.wake, logs, runtime.pool_numbers,
            poll_interval=runtime.poll_interval, published=runtime.committed,
            ready=lambda: runtime.committed({place_of(RUNS, READY)}), lost=runtime.lost, scheduled=scheduled,
        )  # fmt: skip

    return JobSide(plan, schedules, stores, make_work)
