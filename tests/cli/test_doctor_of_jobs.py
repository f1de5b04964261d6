"""``doctor`` on jobs: what is dead, paused or overdue, which pools no job is in, and events that jobs wait for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fastapi_events import Event, Events, JobContext, Module, Retry
from fastapi_events.cli.doctor import application_checks
from fastapi_events.cli.inventory import inventory_of
from tests.cli.bakery import APP
from tests.cli.conftest import Run
from tests.cli.test_doctor import findings, made, told
from tests.delivery.stage import Placed


class Paid(Event, name="ab.order.paid", aggregate_id="order"):
    order: str


class Delivered(Event, name="ab.order.delivered", aggregate_id="order"):
    order: str


class Lost(Event, name="ab.order.lost"):
    pass


def orders() -> Module:
    module = Module("orders")

    async def delivered(job: JobContext[str]) -> Delivered:
        return await job.wait_for(Delivered, key=job.input)

    @module.job(retry=Retry(1))
    async def fulfil(job: JobContext[str]) -> None:
        await job.wait_for(Paid, key=job.input)
        await delivered(job)

    @module.job(retry=Retry(1), pool="interactive")
    async def fail(job: JobContext[None]) -> None:
        raise ValueError("no")

    @module.every(timedelta(hours=1))
    async def sweep(job: JobContext[None]) -> None: ...

    @module.every(timedelta(hours=1))
    async def report(job: JobContext[None]) -> None: ...

    return module


async def with_a_dead_run(url: str) -> Events:
    """Jobs are registered, and one run has failed for good."""
    events = made(url, orders())
    await events.start(drains=False)
    try:
        await events.jobs.start(events.registry.jobs["orders.fail"], None)
        await events.drain_once()
    finally:
        await events.stop()
    return events


async def test_what_is_dead_paused_and_overdue(connection: Any, clean_database: str) -> None:
    events = await with_a_dead_run(clean_database)
    found = await findings(events)
    told(found["dead runs"], "warn", "nobody has dealt with: orders.fail (1).", "jobs list --state dead")
    told(found["paused schedules"], "ok", "none")
    told(found["overdue schedules"], "ok", "none")
    told(found["jobs"], "ok", "4 jobs in the pools batch (5), interactive (20), 2 schedules, 0 triggers")
    told(found["handlers"], "ok", "0 handlers; marks")
    await connection.execute("UPDATE events.schedule SET paused_at = now() WHERE name = 'orders.sweep'")
    await connection.execute(
        "UPDATE events.schedule SET next_at = now() - interval '1 day' WHERE name = 'orders.report'"
    )
    await connection.execute("UPDATE events.run_end SET discarded_at = now()")
    found = await findings(events)
    told(found["dead runs"], "ok", "none")
    told(found["paused schedules"], "warn", "which start nothing: orders.sweep.", "schedules resume NAME")
    told(found["overdue schedules"], "warn", "no process has made: orders.report (since", "Start a worker")


async def test_dead_letters_point_at_dead_runs(run: Run, clean_database: str) -> None:
    given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    before = await run("dlq", "list", **given)
    assert "Dead runs" not in before.output
    await with_a_dead_run(clean_database)
    for listed in (await run("dlq", "list", **given), await run("dlq", "groups", **given)):
        assert "Dead runs of jobs: 1. See 'fastapi-events jobs list --state dead'." in listed.output, listed
    assert "Dead runs" not in (await run("dlq", "list", "--json", **given)).output


async def test_events_that_jobs_wait_for_are_not_unhandled(clean_database: str) -> None:
    finding = application_checks.unhandled_finding(made(clean_database, orders()), [])
    assert finding.status == "warn"
    assert "ab.order.lost" in finding.message
    assert "ab.order.paid" not in finding.message
    assert "ab.order.delivered" not in finding.message
    assert "All is well if a job waits for them" in (finding.mend or "")


async def test_pools_that_no_job_is_in(clean_database: str, caplog: pytest.LogCaptureFixture) -> None:
    wrong = made(clean_database, orders(), pools=("bathc", "interactive"), concurrency={"bulky": 3})
    finding = (await findings(wrong))["jobs"]
    told(
        finding, "warn", "EVENTS_POOLS (pools) names the pool 'bathc', in which no job of this application is. Did you"
    )
    told(finding, "warn", "Did you mean 'batch'? EVENTS_CONCURRENCY (concurrency) has a number for the pool 'bulky'")
    told(finding, "warn", "is. Its jobs are in batch, interactive.", "Correct the setting")
    await wrong.start(drains=True)
    assert inventory_of(wrong) == "0 handlers, 1 of 4 jobs in the pool interactive (20), 2 schedules, 0 triggers"
    await wrong.stop()
    assert [one.getMessage()[:38] for one in caplog.records if "names the pool" in one.getMessage()] == [
        "EVENTS_POOLS (pools) names the pool 'b",
    ]
    some = made(clean_database, orders(), pools=("interactive",))
    told((await findings(some))["jobs"], "ok", "1 of 4 jobs in the pool interactive (20), 2 schedules, 0 triggers")


async def test_a_job_that_cannot_be_called(clean_database: str) -> None:
    module = Module("orders")

    @module.job()
    async def wrong(job: JobContext[None], request: Placed) -> None: ...

    told(
        (await findings(made(clean_database, module)))["jobs"],
        "fail",
        "parameter 'request' (Placed) cannot be given to a job",
    )
