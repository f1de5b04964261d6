"""Large payloads over a slow link: a batch that takes too long to arrive is asked for in smaller pieces."""

import asyncio
import contextlib

import pytest

from fastapi_events import Event, Module
from tests.delivery.proxy import Proxy
from tests.delivery.stage import Stage, publish, until

COUNT = 48


class Scanned(Event, name="shop.page.scanned"):
    number: int
    image: str


class SlowLink(Proxy):
    """Lets two megabytes through in a second."""

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(16_384):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) / 2_000_000)
        writer.close()


async def test_a_batch_that_never_arrives_is_halved_until_it_does(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, seen = Module("shop"), []

    @module.on(Scanned)
    async def handle(event: Scanned) -> None:
        seen.append(event.number)

    plain = await stage.idle(module)
    image = "x" * 100_000
    await publish(plain, [Scanned(number=number, image=image) for number in range(COUNT)])
    monkeypatch.setattr("fastapi_events.store.database.STATEMENT_TIMEOUT", 0.6)
    monkeypatch.setattr("fastapi_events.engine.batch_reader.STATEMENT_TIMEOUT", 0.6)
    async with SlowLink(stage.url) as link:
        events = await stage.running(module, database_url=link.url, lease=1.5, heartbeat=0.3, batch_size=32)
        await until(lambda: len(seen) == COUNT, "every event", 60)
        assert sorted(seen) == list(range(COUNT))
        await events.stop()


async def test_after_a_slow_time_batches_grow_again(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Scanned)
    async def handle(event: Scanned) -> None: ...

    events = await stage.idle(module, batch_size=32)
    events.runtime.make_drains()
    [drain] = [loop for loop in events.runtime.drain_loops if loop._lane == 1]
    drain._reader._size = 1
    sizes = []
    for number in range(40):
        await publish(events, [Scanned(number=number, image="")])
        await drain.drain()
        sizes.append(drain._reader._size)
    assert sizes[-1] == 32
    assert sizes == sorted(sizes)
