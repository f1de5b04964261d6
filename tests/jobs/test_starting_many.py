"""Many runs started in one call are what as many starts would be, by whichever driver, or none of them is there."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from fastapi_events import Events, JobClient, JobContext, Module
from fastapi_events.api.session_binding import bind_jobs
from fastapi_events.errors import InvalidInput
from fastapi_events.store.database import sqlalchemy_url
from tests.delivery.stage import Stage

AWKWARD = (
    "",
    "a,b",
    '"quoted"',
    "back\\slash",
    "{brace}",
    "NULL",
    "line\nbreak",
    "\x1e",
    "ümläut",
    "ring :name ::text",
)
WAYS = ("asyncpg", "session", "session in a transaction", "sync session")


class Order(BaseModel):
    """An input whose text is as it may be."""

    model_config = ConfigDict(frozen=True)

    number: int
    note: str


ORDERS = [Order(number=number, note=note) for number, note in enumerate(AWKWARD)]


def shop(**options: Any) -> Module:
    """A module with one job."""
    module = Module("shop")

    @module.job("shop.ship", **options)
    async def ship(job: JobContext[Order]) -> None: ...

    return module


@asynccontextmanager
async def client(stage: Stage, events: Events, way: str) -> AsyncIterator[JobClient]:
    """What starts jobs in a transaction that is committed in the end."""
    if way == "asyncpg":
        connection: Any = await asyncpg.connect(stage.url)
        async with connection.transaction():
            yield bind_jobs(events.publishing, connection)
        await connection.close()
    elif way == "sync session":
        with session_of(stage) as session:
            yield bind_jobs(events.publishing, session)
            session.commit()
    else:
        engine = create_async_engine(sqlalchemy_url(stage.url))
        async with AsyncSession(engine) as session:
            if way != "session":
                await session.execute(text("SELECT 1"))
            yield bind_jobs(events.publishing, session)
            await session.commit()
        await engine.dispose()


@contextmanager
def session_of(stage: Stage) -> Iterator[Session]:
    engine = create_engine(sqlalchemy_url(stage.url, "psycopg"))
    with Session(engine) as session:
        yield session
    engine.dispose()


async def stored(stage: Stage) -> list[Any]:
    return await stage.rows(
        "SELECT r.*, q.state, q.priority AS queued_priority, q.due_at IS NOT NULL AS later FROM events.run r "
        "JOIN events.run_queue q ON q.run_id = r.id AND q.number = r.number AND q.job_id = r.job_id ORDER BY r.number"
    )


@pytest.mark.parametrize("way", WAYS)
async def test_all_are_there_in_their_order(stage: Stage, way: str) -> None:
    events = await stage.idle(shop(priority=3))
    ship = events.registry.jobs["shop.ship"]
    async with client(stage, events, way) as jobs:
        started = await jobs.start_many(ship, ORDERS)
    rows = await stored(stage)
    assert [row["id"] for row in rows] == [one.run for one in started]
    assert [ship.load_input(row["input"]) for row in rows] == ORDERS
    assert {(row["state"], row["priority"], row["queued_priority"]) for row in rows} == {(b"r", 3, 3)}
    assert [row["correlation_id"] for row in rows] == [one.run for one in started]


@pytest.mark.parametrize("way", WAYS)
async def test_options_are_those_of_each(stage: Stage, way: str) -> None:
    events = await stage.idle(shop(scope=lambda order: ("order", order.number)))
    ship = events.registry.jobs["shop.ship"]
    async with client(stage, events, way) as jobs:
        await jobs.start_many(ship, ORDERS, tags=["spring"], delay=60, priority=-1)
        await jobs.start_many(ship, ORDERS[:2], scope=("account", 7))
    rows = await stored(stage)
    own, given = rows[: len(ORDERS)], rows[len(ORDERS) :]
    assert [row["scope_id"] for row in own] == [str(order.number) for order in ORDERS]
    assert {(tuple(row["tags"]), row["later"], row["queued_priority"]) for row in own} == {(("spring",), True, -1)}
    assert [(row["scope"], row["scope_id"]) for row in given] == [("account", "7")] * 2


@pytest.mark.parametrize("way", WAYS)
async def test_one_that_is_refused_refuses_all(stage: Stage, way: str) -> None:
    events = await stage.idle(shop())
    ship = events.registry.jobs["shop.ship"]
    async with client(stage, events, way) as jobs:
        with pytest.raises(InvalidInput, match=r"shop\.ship"):
            await jobs.start_many(ship, [*ORDERS, Order.model_construct(number="no", note="")])
        assert await jobs.start_many(ship, []) == []
    assert not await stored(stage)


async def test_an_exhausted_iterator_is_read_once(stage: Stage) -> None:
    events = await stage.idle(shop())
    started = await events.jobs.start_many(events.registry.jobs["shop.ship"], iter(ORDERS))
    assert len(started) == len(ORDERS) == len(await stored(stage))


@pytest.mark.parametrize("way", WAYS)
async def test_what_differs_between_runs_of_one_transaction_is_each_ones_own(stage: Stage, way: str) -> None:
    module = shop(priority=3)

    @module.job("shop.count", priority=-2)
    async def count(job: JobContext[int]) -> None: ...

    events = await stage.idle(module)
    ship, conversation = events.registry.jobs["shop.ship"], uuid4()
    async with client(stage, events, way) as jobs:
        first, second = await jobs.start_many(ship, ORDERS[:2], correlation_id=conversation)
        third = await jobs.start(count, 7)
        fourth = await jobs.start(ship, ORDERS[2], priority=9)
    rows = await stored(stage)
    assert [row["id"] for row in rows] == [first.run, second.run, third.run, fourth.run]
    assert [row["correlation_id"] for row in rows] == [conversation, conversation, third.run, fourth.run]
    assert [row["queued_priority"] for row in rows] == [3, 3, -2, 9]
    assert [row["job_id"] == rows[0]["job_id"] for row in rows] == [True, True, False, True]
