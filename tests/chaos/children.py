"""What the forked processes do: handle events, or feed them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from uuid import uuid4

from sqlalchemy import text

from tests.chaos.application import Application, place, shop
from tests.chaos.options import Options, Twin
from tests.chaos.processes import Main
from tests.chaos.twins import plant

ACCOUNTS = 200
AT_ONCE = 12


def worker(url: str, options: Options, label: str, twin: Twin) -> Main:
    """Handles events until it is killed."""

    async def main() -> None:
        plant(twin)
        app = Application(url, options, label, shop)
        await app.events.start(drains=True)
        await asyncio.Event().wait()

    return main


def feeder(url: str, options: Options, label: str, began: float) -> Main:
    """Places orders at an even pace from ``began`` (on the monotonic clock); what is committed already counts."""

    async def main() -> None:
        app = Application(url, options, label, shop, pool=AT_ONCE)
        await app.events.start(drains=False)
        await _Feed(app, options, began).run()

    return main


class _Feed:
    def __init__(self, app: Application, options: Options, began: float) -> None:
        self._app, self._options, self._began = app, options, began
        self._begun = 0
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        options = self._options
        self._begun = await self._committed()
        while await self._committed_at_last() < options.events:
            due = int((time.monotonic() - self._began) / options.seconds * options.events)
            while self._begun < min(due, options.events) and len(self._under_way) < AT_ONCE:
                self._begun += 1
                task = asyncio.create_task(self._order())
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(0.005)

    async def _committed_at_last(self) -> int:
        """Asked only when everything has been begun and nothing is under way."""
        if self._begun < self._options.events or self._under_way:
            return 0
        self._begun = await self._committed()
        return self._begun

    async def _committed(self) -> int:
        while True:
            with contextlib.suppress(Exception):
                async with self._app.sessions() as session:
                    return int((await session.execute(text("SELECT count(*) FROM chaos.placed"))).scalar_one())
            await asyncio.sleep(0.1)

    async def _order(self) -> None:
        """One transaction; one in twenty is rolled back after publishing, one in fifty takes its time."""
        try:
            async with self._app.sessions() as session:
                await place(self._app, session, uuid4(), random.randrange(ACCOUNTS))
                if random.random() < 0.02:
                    await asyncio.sleep(random.uniform(0.2, 0.8))
                if random.random() < 0.05:
                    await session.flush()
                    await session.rollback()
                    self._begun -= 1
                else:
                    await session.commit()
        except Exception as error:  # noqa: BLE001 - the server is restarted under its feet: begin another instead
            print(f"{type(error).__name__} while feeding")
            self._begun -= 1
            await asyncio.sleep(0.05)
