"""``fastapi-events worker``: what it says when it is stopped."""

import asyncio
import re
import signal
from pathlib import Path

import asyncpg
import pytest

from fastapi_events import Event, Events, EventsSettings
from tests.cli.conftest import running
from tests.conftest import NewDatabase
from tests.delivery.stage import until


class Placed(Event, name="shop.order.placed"):
    pass


class Shipped(Event, name="shop.order.shipped"):
    pass


@pytest.mark.parametrize(("event", "handler"), [(Placed(), "shop.slow"), (Shipped(), "shop.thread")])
async def test_a_second_signal_ends_at_once_and_says_nothing_untrue(
    project: Path, new_database: NewDatabase, event: Event, handler: str
) -> None:
    url = await new_database()
    arguments = ("worker", "--app", "shop.events:events")

    def log() -> str:
        return (project / "log").read_text()

    with running(project, *arguments, EVENTS_DATABASE_URL=url) as process:
        await until(lambda: "started" in log() or process.poll() is not None, "the worker", 30)
        assert "started" in log(), log()
        events = Events(settings=EventsSettings(database_url=url))
        async with asyncio.timeout(20):
            await events.start(drains=False)
            published = await events.publish(event)
            await events.stop()
        await until((project / "began").exists, "the handler")
        process.send_signal(signal.SIGTERM)
        await until(lambda: "stopping" in log(), "the first signal")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20) == 130
    assert "stopped at once by a second signal" in log()
    assert re.search(rf"handler {handler}: shop.order.\w+ {published.event_id}, attempt 1, was cut off", log())
    assert "again in" not in log()
    assert "CancelledError" not in log()
    connection = await asyncpg.connect(url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM events.delivery") == 0
    finally:
        await connection.close()
