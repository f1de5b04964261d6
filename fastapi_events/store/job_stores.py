"""Everything that keeps jobs and runs, as the engine is given it: PostgreSQL's, or a stand-in of the same kind."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from fastapi_events.store.database import Database
from fastapi_events.store.doubt import Doubt
from fastapi_events.store.families import FamilyStore
from fastapi_events.store.job_schedules import JobScheduleStore
from fastapi_events.store.jobs import JobStore
from fastapi_events.store.log import EventLog
from fastapi_events.store.run_completion import RunCompletion
from fastapi_events.store.run_gates import RunGates
from fastapi_events.store.run_log import RunLogStore
from fastapi_events.store.run_readings import RunReadings
from fastapi_events.store.runs import RunQueue
from fastapi_events.store.statements import Statements
from fastapi_events.store.steps import StepStore
from fastapi_events.store.waits import WaitStore
from fastapi_events.store.work import WorkStore


@dataclass(frozen=True, slots=True)
class JobStores:
    """One worker's stores."""

    jobs: JobStore
    queue: RunQueue
    completion: RunCompletion
    steps: StepStore
    families: FamilyStore
    waits: WaitStore
    gates: RunGates
    schedules: JobScheduleStore
    readings: RunReadings
    logs: RunLogStore
    work: WorkStore
    doubt: Doubt


def job_stores(
    database: Database, statements: Statements, log: EventLog, *, worker: UUID, lease: float
) -> JobStores:  # fmt: skip
    """Those on PostgreSQL."""
    return JobStores(
        JobStore(database, statements),
        RunQueue(database, statements, log, worker=worker, lease=lease),
        RunCompletion(statements, worker=worker),
        StepStore(database, statements, log, worker=worker),
        FamilyStore(database, statements, worker=worker),
        WaitStore(database, statements, worker=worker),
        RunGates(database, statements),
        JobScheduleStore(database, statements),
        RunReadings(database, statements),
        RunLogStore(database, statements, worker=worker),
        WorkStore(database, statements),
        Doubt(database, statements, worker=worker, lease=lease),
    )
