"""Telling other processes that something was committed: after the commit, on a connection of its own, coalesced.

A NOTIFY inside the user's transaction would serialise all commits of the cluster and could make them fail; sent
afterwards it can do neither. If it is lost, polling finds the event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from typing import Any

from fastapi_events.engine.service import Loop
from fastapi_events.model.lane import LogPlace
from fastapi_events.store.channel import Channel, Hint
from fastapi_events.store.database import Database

NOTHING = Hint()
GATHERING = 0.005
"""Seconds between two notifications: the first of a burst goes at once, the rest are sent together."""


class Notifier(Loop):
    """Sends at most one NOTIFY per five milliseconds, naming where events were published."""

    name = "notifier"

    def __init__(self, database: Database, channel: Channel) -> None:
        super().__init__()
        self._database, self._channel = database, channel
        self._connection: Any = None
        self._wanted = asyncio.Event()
        self._places: set[LogPlace] = set()
        self._keys = self._handlers = False

    def announce(self, places: Collection[LogPlace]) -> None:
        """Have it announced soon that events were published there. Call it on the event loop's thread."""
        self._places.update(places)
        self._wanted.set()

    def announce_keys(self) -> None:
        """Have it announced soon that parked keys have become due. Call it on the event loop's thread."""
        self._keys = True
        self._wanted.set()

    def announce_handlers(self) -> None:
        """Have it announced soon that handlers have changed. Call it on the event loop's thread."""
        self._handlers = True
        self._wanted.set()

    def interrupt(self) -> None:
        self._wanted.set()

    async def turn(self) -> None:
        await self._connect()
        await self._wanted.wait()
        self._wanted.clear()
        hint = self._take()
        if hint == NOTHING:
            return
        try:
            await self._send(hint)
        except BaseException:
            self._drop()
            self._places |= hint.places
            self._keys |= hint.keys
            self._handlers |= hint.handlers
            self._wanted.set()
            raise
        await asyncio.sleep(GATHERING)

    def _take(self) -> Hint:
        hint = Hint(frozenset(self._places), keys=self._keys, handlers=self._handlers)
        self._places, self._keys, self._handlers = set(), False, False
        return hint

    async def _send(self, hint: Hint) -> None:
        connection = await self._connect()
        await self._channel.notify(connection, hint, timeout=5)

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
        hint = self._take()
        if hint != NOTHING and self._connection is not None and not self._connection.is_closed():
            with contextlib.suppress(Exception):  # a wake-up that is lost here is found by polling
                await self._send(hint)
        self._drop()
