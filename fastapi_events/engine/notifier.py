"""Telling other processes that something was committed: after the commit, on a connection of its own, coalesced.

A NOTIFY inside the user's transaction would serialise all commits of the cluster and could make them fail; sent
afterwards it can do neither. If it is lost, polling finds the event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from fastapi_events.engine.service import Loop
from fastapi_events.store.channel import Channel
from fastapi_events.store.database import Database

KEYS = -1
"""Announced in place of a lane: parked keys have become due."""
GATHERING = 0.005
"""Seconds between two notifications: the first of a burst goes at once, the rest are sent together."""


class Notifier(Loop):
    """Sends at most one NOTIFY per five milliseconds, naming the lanes that were published to."""

    name = "notifier"

    def __init__(self, database: Database, channel: Channel) -> None:
        super().__init__()
        self._database, self._channel = database, channel
        self._connection: Any = None
        self._wanted = asyncio.Event()
        self._lanes: set[int] = set()

    def announce(self, lanes: Collection[int]) -> None:
        """Have these lanes announced soon. Call it on the event loop's thread."""
        self._lanes.update(lanes)
        self._wanted.set()

    def interrupt(self) -> None:
        self._wanted.set()

    async def turn(self) -> None:
        await self._connect()
        await self._wanted.wait()
        self._wanted.clear()
        lanes, self._lanes = self._lanes, set()
        if not lanes:
            return
        try:
            await self._send(lanes)
        except BaseException:
            self._drop()
            self._lanes |= lanes
            self._wanted.set()
            raise
        await asyncio.sleep(GATHERING)

    async def _send(self, lanes: Collection[int]) -> None:
        connection = await self._connect()
        await self._channel.notify(connection, _hint(lanes), timeout=5)

    async def _connect(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect(synchronous_commit="off")
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def stop(self, grace: float = 5.0) -> None:
        """Send what is still wanted, then close."""
        await super().stop(grace)
        if self._lanes and self._connection is not None and not self._connection.is_closed():
            try:
                await self._send(self._lanes)
            except Exception:  # noqa: BLE001 - a wake-up that is lost here is found by polling
                self._lanes.clear()
        self._drop()


def _hint(lanes: Collection[int]) -> str:
    return ",".join("k" if lane == KEYS else str(lane) for lane in sorted(lanes))
