"""All stores of jobs on memory, and the transactions by which jobs with a session write to them."""

from __future__ import annotations

from typing import Any

from fastapi_events.engine.handler_transaction import PlainTransaction, PlainTransactions
from fastapi_events.engine.infrastructure import NoConnection
from fastapi_events.store.job_stores import JobStores
from fastapi_events.testing.memory.jobs.families import MemoryFamilies
from fastapi_events.testing.memory.jobs.gates import MemoryGates
from fastapi_events.testing.memory.jobs.known_jobs import MemoryJobs
from fastapi_events.testing.memory.jobs.lines import MemoryRunLog
from fastapi_events.testing.memory.jobs.queue import MemoryCompletion, MemoryRunQueue
from fastapi_events.testing.memory.jobs.readings import MemoryRunReadings
from fastapi_events.testing.memory.jobs.runs import KeptRuns
from fastapi_events.testing.memory.jobs.schedules import MemorySchedules
from fastapi_events.testing.memory.jobs.steps import MemorySteps
from fastapi_events.testing.memory.jobs.waits import MemoryWaits
from fastapi_events.testing.memory.jobs.work import MemoryDoubt, MemoryWork
from fastapi_events.testing.memory.log import MemoryLog


class MemoryTransaction(PlainTransaction):
    """The transaction of a job, or of a step. What would be a statement is called with its connection instead."""

    async def execute(self, statement: Any, *arguments: Any) -> list[Any]:
        await self.session.flush()
        connection = None if self._connection is None else self._connection.sync_connection
        if connection is None:
            raise NoConnection("the connection was closed before what came of the attempt was recorded")
        return list(statement(connection, *arguments))


class MemoryTransactions(PlainTransactions):
    """Makes them."""

    async def open(self, *, session: bool = True) -> MemoryTransaction:  # noqa: ARG002 - there is no other way here
        return MemoryTransaction(self._make_session(), self._marks)


def memory_stores(runs: KeptRuns, log: MemoryLog, schedules: MemorySchedules) -> JobStores:
    """The stores that the engine is given in place of PostgreSQL's."""
    return JobStores(
        MemoryJobs(runs), MemoryRunQueue(runs, log, schedules), MemoryCompletion(runs), MemorySteps(runs, log),
        MemoryFamilies(runs), MemoryWaits(runs, log), MemoryGates(runs), schedules, MemoryRunReadings(runs),
        MemoryRunLog(runs), MemoryWork(runs, schedules), MemoryDoubt(),
    )  # fmt: skip
