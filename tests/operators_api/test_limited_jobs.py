"""What programs are told where a run is in the way of another one."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest_asyncio
from fastapi import FastAPI

from fastapi_events import Concurrency, Dedupe, Events, EventsSettings, JobContext, Module, Retry
from tests.dashboard.ground import by_header, client_of

API = "/events/api"


class Shop:
    """A started instance with limited jobs of which nothing is run, and a client of its JSON API."""

    def __init__(self, events: Events, report: Any, stock: Any, client: Any) -> None:
        self.events, self.report, self.stock, self.client = events, report, stock, client

    async def post(self, path: str, **body: Any) -> Any:
        return await self.client.post(f"{API}/{path}", json=body)


@pytest_asyncio.fixture
async def shop(clean_database: str) -> AsyncIterator[Shop]:
    module = Module("shop")

    @module.job(dedupe=Dedupe(), retry=Retry(1))
    async def report(job: JobContext[str]) -> None: ...

    @module.every(timedelta(hours=1))
    @module.job(concurrency=Concurrency(on_collision="reject"))
    async def stock(job: JobContext[None]) -> None: ...

    settings = EventsSettings(database_url=clean_database, notify="off", pools=["interactive"])
    events = Events(modules=[module], settings=settings, authorize=by_header)
    app = FastAPI()
    app.include_router(events.router)
    await events.start(drains=False)
    headers = {"X-Permissions": "view,view_payload,operate,edit"}
    async with client_of(app, headers=headers) as client:
        yield Shop(events, report, stock, client)
    await events.stop()


async def test_runs_in_the_way_of_others_are_named(shop: Shop) -> None:
    old = await shop.events.jobs.start(shop.report, "monday")
    await shop.events.jobs.cancel(old)
    there = await shop.events.jobs.start(shop.report, "monday")
    conflict = {"run": str(old.run), "rival": str(there.run)}
    for path, more in (("runs/retry", {}), ("runs/replay", {"from": "scratch"})):
        answer = await shop.post(path, ids=[str(old.run)], **more)
        assert (answer.status_code, answer.json()) == (200, {"asked": 1, "changed": 0, "conflicts": [conflict]})
    answer = await shop.post(f"runs/{old.run}/edit", input="monday")
    assert answer.status_code == 409
    assert f"run {there.run} was started with its dedupe key since" in answer.text
    answer = await shop.post(f"runs/{old.run}/edit", input="tuesday")
    assert (answer.status_code, answer.json()) == (200, {"changed": True})


async def test_a_run_now_that_is_rejected_is_a_conflict(shop: Shop) -> None:
    first = (await shop.post("schedules/run", schedule="shop.stock")).json()["run"]
    answer = await shop.post("schedules/run", schedule="shop.stock")
    assert answer.status_code == 409
    assert f"schedule 'shop.stock': 1 of 1 runs have not ended, the oldest is {first}" in answer.text
