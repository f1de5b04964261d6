"""Hearing of other processes' commits: one LISTEN connection per process, checked actively.

A half-open socket reports nothing at all, so every few seconds the connection must answer a query; if it does not it
is torn down (never closed politely: that would hang) and made anew, and everything is drained at once, because
notifications are not kept for a listener that was away. While there is no listener the loops poll more often.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Literal

import asyncpg

from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import Wake
from fastapi_events.store.channel import Channel, Hint
from fastapi_events.store.database import Database

logger = logging.getLogger("fastapi_events")

WakeUp = Literal["listening", "polling", "off"]
"""How a process learns of events: by notifications, by looking now and then, or not at all, as it handles none."""

CHECK_INTERVAL = 10.0
CHECK_TIMEOUT = 5.0


class Listener(Loop):
    """Wakes the loops of this process on notifications; ``listening`` says whether it can."""

    name = "listener"

    def __init__(self, database: Database, channel: Channel, wake: Wake, *, url: str | None = None) -> None:
        super().__init__()
        self._database, self._channel, self._wake, self._url = database, channel, wake, url
        self._connection: Any = None
        self._lost = asyncio.Event()
        self.listening = asyncio.Event()

    async def start(self) -> None:
        """Begin, and return once LISTEN is in force, or after two seconds without (polling serves meanwhile)."""
        await super().start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self.listening.wait()

    def interrupt(self) -> None:
        self._lost.set()

    async def turn(self) -> None:
        connection = self._connection or await self._listen()
        if await self._is_lost_within(CHECK_INTERVAL):
            if self.stopping.is_set():
                self._drop()
                return
            self._drop()
            raise asyncpg.InterfaceError("the LISTEN connection was lost")
        try:
            async with asyncio.timeout(CHECK_TIMEOUT):
                heard = await self._channel.is_heard(connection)
        except TimeoutError as error:
            raise asyncpg.InterfaceError("the LISTEN connection does not answer") from error
        if not heard:
            raise asyncpg.InterfaceError("the connection does not listen any more")

    async def recover(self) -> None:
        self._drop()

    async def stop(self, grace: float = 5.0) -> None:
        """End and drop the connection."""
        await super().stop(grace)
        self._drop()

    async def _listen(self) -> Any:
        self._lost.clear()
        connection = await self._database.connect(self._url)
        self._connection = connection
        connection.add_termination_listener(lambda _: self._lost.set())
        async with asyncio.timeout(CHECK_TIMEOUT):
            await connection.add_listener(self._channel.name, self._heard)
        if self.stopping.is_set():
            self._lost.set()  # it was cleared above
        self.listening.set()
        self._wake.everything()
        return connection

    async def _is_lost_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        except TimeoutError:
            return False
        return True

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        """A notification is a hint that anybody may forge."""
        hint = Hint.read(str(payload))
        if hint.keys:
            self._wake.parked()
        if hint.handlers:
            self._wake.handlers()
        if hint.places:
            self._wake.places(hint.places)
        if hint.lanes or hint.everywhere:
            self._wake.lane(None if hint.everywhere else hint.lanes)

    def _drop(self) -> None:
        self.listening.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
