"""Handling what was just committed before the commit returns: the setting ``immediate``.

Nothing is bypassed. Once the root commit is over, the lanes are drained as ever: claimed, dispatched, settled. Whatever
this process dies of meanwhile is found by the others' polling. The committer only waits, and not for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context
from uuid import UUID

from fastapi_events.engine.infrastructure import describe
from fastapi_events.engine.runtime import Runtime
from fastapi_events.store.unread import UnreadStore

logger = logging.getLogger("fastapi_events")

FIRST_LOOK, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two looks at what another process has claimed; each pause is twice the one before it."""
QUIET_ROUNDS = 2


class Immediate:
    """Makes committers wait until handlers have made their first attempt, ``timeout`` seconds at most."""

    def __init__(self, runtime: Runtime, *, timeout: float) -> None:
        self._runtime, self._timeout = runtime, timeout
        self._store = UnreadStore(runtime.database, runtime.statements)
        self._drains: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.loop = asyncio.get_running_loop()

    async def handled(self, event_ids: Sequence[UUID]) -> None:
        """Return when these events have been attempted, and what they led to; or when the time is over.

        Raises nothing: the events are committed, and whatever goes wrong here is retried as ever.
        """
        if self._stopping:
            return
        # A task of its own, in an empty context: handlers inherit nothing of the committer's, and its being cancelled
        # cancels no batch.
        drain = asyncio.create_task(self._drain(), name="fastapi_events:immediate", context=Context())
        self._drains.add(drain)
        drain.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.wait({drain})
                drain.result()
                await self._until_read(event_ids)
        except TimeoutError:
            logger.info(
                "immediate: %d events are not handled within %g s; the commit returns, and they are handled as ever. "
                "Raise immediate_timeout (EVENTS_IMMEDIATE_TIMEOUT) to wait for longer.", len(event_ids), self._timeout,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001 - the commit has succeeded: nothing may make it look otherwise
            logger.warning("immediate: the commit returns before its events are handled (%s)", describe(error))

    async def stop(self) -> None:
        """Drain nothing more, and let what is under way end within the grace period."""
        self._stopping = True
        if self._drains:
            _, left = await asyncio.wait(set(self._drains), timeout=self._runtime.settings.shutdown_grace)
            for task in left:
                task.cancel()

    def _ended(self, drain: asyncio.Task[None]) -> None:
        self._drains.discard(drain)
        if not drain.cancelled():
            drain.exception()  # who still waits tells of it; nobody else shall

    async def _drain(self) -> None:
        """In every lane, until two rounds in a row have met nothing: what handlers publish may be in any of them.

        The loops themselves may be at it. A round waits for each of them once; a batch that it begins meanwhile makes
        the round count for nothing, and one that it had begun before may lead to events that the next round meets.
        """
        runtime = self._runtime
        if not runtime.drain_loops:
            runtime.make_drains()
        quiet, begun, taken = 0, -1, runtime.detached.taken if runtime.detached is not None else 0
        while quiet < QUIET_ROUNDS and not self._stopping:
            found = sum([await loop.drain() for loop in runtime.drain_loops])
            found += await self._drain_detached(taken)
            taken = runtime.detached.taken if runtime.detached is not None else 0
            before, begun = begun, sum(loop.batches for loop in runtime.drain_loops)
            quiet = quiet + 1 if not found and before == begun else 0
        if runtime.broadcasts is not None:
            await runtime.broadcasts.drain()

    async def _drain_detached(self, taken: int) -> int:
        """Where attempts have been detached: end them, and attempt what was parked behind; returns whether any was."""
        detached, redelivery = self._runtime.detached, self._runtime.redelivery
        if detached is None or redelivery is None or not (await detached.drain() or detached.taken > taken):
            return 0
        await redelivery.exhaust()
        return 1

    async def _until_read(self, event_ids: Sequence[UUID]) -> None:
        """Wait for what another process of the group has claimed; what is paused nobody reads."""
        runtime, pause = self._runtime, FIRST_LOOK
        while not self._stopping:
            paused = runtime.gates.paused_lanes
            if not await self._store.count(runtime.group_id, event_ids, [n for n in runtime.lanes if n not in paused]):
                return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
