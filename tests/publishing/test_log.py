"""Appending itself: order, duplicates inside one call, and the order of transaction id and position."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from fastapi_events.model.context import Flow
from fastapi_events.model.envelope import Envelope, PublishOptions, seal
from tests.publishing.shop import Counted, Log, Noted, Port


def sealed(port: Port, number: int, event_id: UUID | None = None, **flow: Any) -> Envelope:
    return seal(Noted(number=number), port.rules, Flow(**flow), PublishOptions(event_id=event_id))


@pytest.fixture(params=["asyncpg", "SQLAlchemy"])
def append(request: pytest.FixtureRequest, connection: Any, engine: AsyncEngine, port: Port) -> Any:
    async def by_asyncpg(envelopes: list[Envelope]) -> list[bool]:
        async with connection.transaction():
            return await port.log.append(connection, envelopes)

    async def by_sqlalchemy(envelopes: list[Envelope]) -> list[bool]:
        async with engine.begin() as own:
            return await own.run_sync(port.log.append_through, envelopes)

    return by_asyncpg if request.param == "asyncpg" else by_sqlalchemy


@pytest.mark.parametrize("count", [0, 1, 2, 10, 11, 100])
@pytest.mark.parametrize("flow", [{}, {"tenant_id": "acme"}])
async def test_any_number_in_order(port: Port, append: Any, log: Log, count: int, flow: dict[str, str]) -> None:
    assert await append([sealed(port, number, **flow) for number in range(count)]) == [False] * count
    assert await log.numbers() == list(range(count))


async def test_duplicates_inside_one_call(port: Port, append: Any, log: Log) -> None:
    one, two = uuid4(), uuid4()
    events = [sealed(port, 0), sealed(port, 1, one), sealed(port, 2, two), sealed(port, 3, one), sealed(port, 4)]
    assert await append(events) == [False, False, False, True, False]
    assert await append(events[1:4]) == [True, True, True]
    assert await log.numbers() == [0, 1, 2, 4]


async def test_locks_and_ids_together(port: Port, append: Any, log: Log) -> None:
    given = PublishOptions(event_id=uuid4())
    events = [
        seal(Counted(item=1, number=1), port.rules, Flow()),
        seal(Counted(item=2, number=2), port.rules, Flow(), given),
    ]
    assert await append(events) == [False, False]
    assert await append([sealed(port, 3), events[1]]) == [False, True]
    assert await log.numbers() == [1, 2, 3]


@pytest.mark.parametrize("statement", ["append_event", "append_plain_event", "append_events", "append_keyed_events"])
async def test_the_transaction_has_its_id_before_a_position_is_drawn(port: Port, log: Log, statement: str) -> None:
    """Sealing a segment of the log relies on it."""
    from fastapi_events.store.statements import Statements

    text = Statements()[statement]
    width = 1 if "$2" not in text else text.count("$")
    parameters = ",".join(["NULL"] * width)
    await log.fetch(f"PREPARE appending AS {text}")
    plan = "\n".join(row[0] for row in await log.fetch(f"EXPLAIN (VERBOSE) EXECUTE appending({parameters})"))
    await log.fetch("DEALLOCATE appending")
    assert 0 < plan.index("pg_current_xact_id()") < plan.index("nextval(")
