"""Putting together what runs an instance's jobs."""

from __future__ import annotations

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
from fastapi_events.engine.runtime import Runtime
from fastapi_events.model.lane import place_of
from fastapi_events.model.registry import Registry
from fastapi_events.model.run_start import READY, RUNS
from fastapi_events.plugin.backoff import retry_of
from fastapi_events.plugin.publishing import PUBLISHERS, Publishing
from fastapi_events.store.families import FamilyStore
from fastapi_events.store.job_schedules import JobScheduleStore
from fastapi_events.store.run_log import RunLogStore
from fastapi_events.store.steps import StepStore
from fastapi_events.store.waits import WaitStore


def make_job_side(
    runtime: Runtime, registry: Registry, publishing: Publishing, transactions: FencedTransactions | None
) -> JobSide:
    """The jobs of an instance: their signatures read and their policies decided, nothing started."""
    settings = runtime.settings
    plan = JobPlan(
        compile_jobs(
            registry, given=PUBLISHERS, retry=retry_of(settings), timeout=settings.job_timeout,
            keep_result=settings.result_retention, announces=settings.announce_runs,
        )
    )  # fmt: skip
    family = Family(
        FamilyStore(runtime.database, runtime.statements, worker=runtime.worker), jobs=registry.jobs,
        number_of=publishing.job_number, rules=lambda: publishing.rules,
    )  # fmt: skip
    waits = WaitStore(runtime.database, runtime.statements, worker=runtime.worker)
    logs = LogKeeping(
        RunLogStore(runtime.database, runtime.statements, worker=runtime.worker), level=settings.run_log,
        most=settings.run_log_lines, captures=settings.run_log_capture,
    )  # fmt: skip
    tools = JobTools(
        waits=Waits(waits, registry, partitions=runtime.partitions),
        family=family,
        steps=StepStore(runtime.database, runtime.statements, worker=runtime.worker), transactions=transactions,
        connections=runtime.executor.connections, threads=runtime.executor.threads, givers=PUBLISHERS,
        make_giver=publishing.for_run, bind_giver=publishing.on_session, max_size=settings.max_payload_size,
        logs=logs,
    )  # fmt: skip
    executor = JobExecutor(runtime.statements, tools, worker=runtime.worker, cascade_depth=settings.cascade_depth)

    schedules = Schedules(
        JobScheduleStore(runtime.database, runtime.statements), registry.schedules.values(), worker=runtime.worker,
        max_size=settings.max_payload_size,
    )  # fmt: skip

    def scheduled(seconds: float | None) -> None:
        if runtime.scheduler is not None:
            runtime.scheduler.told(seconds)

    def make_work() -> JobWork:
        return JobWork(
            settings, runtime.database, runtime.statements, runtime.log, plan, executor, waits, schedules,
            runtime.wake, logs, runtime.pool_numbers,
            worker=runtime.worker, poll_interval=runtime.poll_interval, published=runtime.committed,
            ready=lambda: runtime.committed({place_of(RUNS, READY)}), lost=runtime.lost, scheduled=scheduled,
        )  # fmt: skip

    return JobSide(plan, schedules, runtime.database, runtime.statements, make_work)
