"""Following the log for the broadcast handlers of this process: wait → look → hand out."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress

from fastapi_events.engine.broadcasting import report
from fastapi_events.engine.broadcasting.feed import Feed
from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.infrastructure import sqlstate_of
from fastapi_events.engine.item import Item
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import LogFlag, wait_for_flag
from fastapi_events.model.lane import AUDIT, LANES, LogPlace
from fastapi_events.model.names import is_pattern, regular_expression
from fastapi_events.store.database import STATEMENT_TIMEOUT
from fastapi_events.store.tail import Interest, Stretch, Tail

logger = logging.getLogger("fastapi_events")

GATHERING = 0.01
"""Seconds between two looks: the first of a burst is made at once, what comes meanwhile is looked for together."""

QUERY_CANCELED = "57014"
SHRINK = 8
"""By what a batch that took too long to read is divided; it grows again by twice."""


def interest_of(handlers: Iterable[Handler]) -> Interest:
    """What the tail has to read for these handlers."""
    declarations = [handler.declaration for handler in handlers]
    wild = [declaration for declaration in declarations if is_pattern(declaration.selects)]
    return Interest(
        names=tuple({d.selects for d in declarations if not is_pattern(d.selects)}),
        wildcards=tuple({regular_expression(d.selects) for d in wild}),
        audit_wildcards=tuple({regular_expression(d.selects) for d in wild if d.audit}),
    )


def lanes_of(interest: Interest) -> list[int]:
    """The lanes in which such events can be; an event selected by its name may be one for audit."""
    return [*LANES.values(), *([AUDIT] if interest.names or interest.audit_wildcards else [])]


class Broadcasts(Loop):
    """Calls the broadcast handlers of this process for what is committed from ``begin()`` on."""

    name = "broadcast handlers"

    def __init__(
        self, tail: Tail, feeds: Sequence[Feed], flag: LogFlag, *, batch_size: int,
        poll_interval: Callable[[], float], skipped: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._tail, self._feeds, self._flag = tail, feeds, flag
        self._poll_interval, self._skipped = poll_interval, skipped
        self._full_size = self._size = batch_size
        self._takers: dict[tuple[int, str], list[Feed]] = {}
        self._begun = False
        self._looked_everywhere = self._looked = float("-inf")
        self._one_at_a_time = asyncio.Lock()

    async def begin(self) -> None:
        """Take a place at the end of the log; idempotent."""
        if not self._begun:
            await self._tail.begin()
            self._begun = True

    async def start(self) -> None:
        """Begin; when it returns, whatever is committed next will be seen."""
        await self.begin()
        await super().start()

    async def turn(self) -> None:
        now, interval = asyncio.get_running_loop().time, self._poll_interval()
        gathering = self._looked + GATHERING - now()
        if gathering > 0:
            await self._pause(gathering)
        called = await wait_for_flag(self._flag, interval * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
        where = self._flag.take()
        if not self.stopping.is_set():
            # Whoever is called often still looks everywhere as often as if nobody called.
            hinted = called and now() - self._looked_everywhere < interval
            await self.look(where if hinted else None)

    async def look(self, where: Collection[LogPlace] | None = None) -> int:
        """Read what there is, in these partitions (None: in all), and hand it out; returns for how many events."""
        async with self._one_at_a_time:  # a call by hand beside the loop: the place is one
            try:
                return await self._look(where)
            finally:
                self._looked = asyncio.get_running_loop().time()

    async def drain(self) -> None:
        """Have everything handled that has been committed by now, and what its handlers publish."""
        found = 1
        while found and not self.stopping.is_set():
            found = await self.look()
            for feed in self._feeds:
                await feed.rest()

    def interrupt(self) -> None:
        self._flag.set()
        for feed in self._feeds:
            feed.stop_starting()

    async def stop(self, grace: float = 5.0) -> None:
        """Read no more, drop what has not begun, and let running handlers finish for ``grace`` seconds."""
        self.stopping.set()
        self.interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await asyncio.gather(*(feed.rest() for feed in self._feeds), return_exceptions=True)
        await super().stop(grace=5.0)
        await asyncio.gather(*(feed.end() for feed in self._feeds), return_exceptions=True)

    async def recover(self) -> None:
        """Nothing is stale: a look that failed has changed nothing. Whatever woke this loop still waits."""
        self._flag.set()

    async def _look(self, where: Collection[LogPlace] | None) -> int:
        if where is None:
            self._looked_everywhere = asyncio.get_running_loop().time()
        found, more = 0, True
        while more and not self.stopping.is_set():
            for feed in self._feeds:
                await feed.room()
            stretch = await self._read(where)
            self._hand_out(stretch)
            found += len(stretch.rows)
            where, more = stretch.unread, bool(stretch.unread)
        return found

    async def _read(self, where: Collection[LogPlace] | None) -> Stretch:
        now, size = asyncio.get_running_loop().time, self._size
        began = now()
        try:
            stretch = await self._tail.read(size, where)
        except Exception as error:
            if isinstance(error, TimeoutError) or sqlstate_of(error) == QUERY_CANCELED:
                self._size = max(size // SHRINK, 1)
                logger.warning("%s: reading %d events took too long; from now on %d", self.name, size, self._size)
            raise
        if stretch.rows and now() - began < STATEMENT_TIMEOUT / 4:
            self._size = min(size * 2, self._full_size)
        if stretch.restart is not None:
            report.restarted(self.name, stretch.restart)
        if stretch.skipped is not None:
            first, last = stretch.skipped
            self._skipped(last - first + 1)
            report.skipped(self.name, first, last)
        return stretch

    def _hand_out(self, stretch: Stretch) -> None:
        for row in stretch.rows:
            item = Item(row, lane=row["lane"], version=row["version"], xid=None)
            for feed in self._takers_of(item.lane, item.name):
                feed.put(item)
        for feed in self._feeds:
            feed.begin()

    def _takers_of(self, lane: int, name: str) -> list[Feed]:
        takers = self._takers.get((lane, name))
        if takers is None:
            takers = self._takers[lane, name] = [feed for feed in self._feeds if feed.takes(lane, name)]
        return takers
