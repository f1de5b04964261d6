"""Publishing without a request: on a given session, or in a transaction of its own where that can be meant."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from fastapi_events.api.session_binding import publish_detached
from fastapi_events.errors import DetachedPublish, InvalidPayload
from fastapi_events.model.context import set_bound
from tests.publishing.shop import Log, Noted, Port

Sessions = async_sessionmaker[AsyncSession]


async def test_a_transaction_of_its_own(port: Port, sessions: Sessions, log: Log) -> None:
    published = await publish_detached(port, Noted(number=1), sessions, tenant_id="acme")
    assert await log.ids() == [published.event_id]
    assert port.woken == [{1}]


async def test_refused_where_somebody_is_bound(port: Port, sessions: Sessions, log: Log) -> None:
    async def bound() -> None:
        set_bound("handler 'inventory.reserve'")
        with pytest.raises(DetachedPublish) as caught:
            await publish_detached(port, Noted(number=1), sessions)
        message = str(caught.value)
        assert "events.publish(Noted(...)) without a session" in message
        assert "handler 'inventory.reserve' is active" in message
        assert "detached=True" in message
        await publish_detached(port, Noted(number=2), sessions, detached=True)

    await asyncio.create_task(bound())
    assert await log.numbers() == [2]


async def test_nothing_is_left_of_what_was_refused(
    port: Port, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidPayload):
        await publish_detached(port, Noted.model_construct(number="x"), sessions)
    assert (port.counted, caplog.records) == ({}, [])
