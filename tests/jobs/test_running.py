"""A job that is started is run, once, and what it returns is there for whoever waits."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel

from fastapi_events import HandlerSession, JobContext, Module, Retry, fixed
from fastapi_events.errors import JobCanceled, JobFailed, JobTimedOut, RunNotFound, UnknownJob
from tests.delivery.stage import Stage, effect, until, within


class Restock(BaseModel):
    """What is to be restocked."""

    sku: str
    quantity: int = 1


class Restocked(BaseModel):
    """What has come of it."""

    sku: str
    ordered: int


async def test_a_started_job_runs_and_its_result_can_be_waited_for(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def restock(job: JobContext[Restock]) -> Restocked:
        return Restocked(sku=job.input.sku, ordered=job.input.quantity * 2)

    events = await stage.running(shop)
    started = await events.jobs.start(restock, Restock(sku="a", quantity=2))
    result = await within(events.jobs.result(started, timeout=10))
    assert result == Restocked(sku="a", ordered=4)
    view = await events.jobs.get(started)
    assert (view.job, view.state, view.attempts) == ("shop.restock", "completed", 1)
