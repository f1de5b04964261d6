"""A database that goes away: told in single lines, and survived."""

import asyncio
import logging
from typing import Any

import pytest

from fastapi_events import Module
from tests.delivery.proxy import Proxy
from tests.delivery.stage import Placed, Stage, until, within


class Gate(Proxy):
    """A proxy that can be shut: whoever is connected is thrown out, whoever knocks is refused."""

    async def shut(self) -> None:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._port = port

    async def unshut(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)


async def test_an_outage_is_told_without_tracebacks(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    seen: set[int] = set()
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.add(event.number)

    publisher = await stage.idle()
    async with Gate(stage.url) as gate:
        events = await stage.running(module, database_url=gate.url)
        await publisher.publish(Placed(order="a", number=1))
        await until(lambda: seen == {1})
        database: Any = events.runtime.database
        lost = database.lost
        with caplog.at_level(logging.INFO):
            await gate.shut()
            await until(lambda: database.lost > lost, "the loss")
            await until(lambda: all(loop.failing for loop in events.runtime.drain_loops), "refused connections")
            await until(lambda: not events.runtime.listening)
            await gate.unshut()
            await publisher.publish(Placed(order="a", number=2))
            await until(lambda: seen == {1, 2})
        await within(events.stop())
    assert any("trying again" in record.getMessage() for record in caplog.records)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert {record.name for record in caplog.records if record.levelno >= logging.WARNING} <= {"fastapi_events"}


async def test_every_lost_connection_counts(stage: Stage) -> None:
    """What was read before a loss is held against what was written after it, so none may go unnoticed."""
    events = await stage.idle()
    database: Any = events.runtime.database
    for number in range(1, 4):
        async with database.acquire() as one, database.acquire() as other:
            pids = [await connection.fetchval("SELECT pg_backend_pid()") for connection in (one, other)]
        await stage.rows("SELECT pg_terminate_backend(pid, 5000) FROM unnest($1::int[]) AS pid", pids)
        await until(lambda: database.lost == 2 * number, "both losses")  # noqa: B023
    assert await database.fetch("SELECT 1")
