"""Keeping what is in hand: leases of runs are renewed together, and whoever is to be cancelled is found on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fastapi_events.engine.jobs.pool import JobPool
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import wait_for_flag
from fastapi_events.store.runs import RunQueue


class RunLeases(Loop):
    """Renews leases; tells pools of runs that they have lost, or are to cancel."""

    name = "leases of runs"

    def __init__(
        self, queue: RunQueue, pools: Sequence[JobPool], flag: asyncio.Event, *, interval: float,
        lost: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._queue, self._pools, self._flag, self._interval, self._lost = queue, pools, flag, interval, lost

    def interrupt(self) -> None:
        self._flag.set()

    async def turn(self) -> None:
        await wait_for_flag(self._flag, self._interval)
        if not self.stopping.is_set():
            await self.renew()

    async def renew(self) -> None:
        """Once, for everything that is in hand."""
        in_hand = {claim: pool for pool in self._pools for claim in pool.claims}
        if not in_hand:
            return
        kept = await self._queue.renew(list(in_hand))
        for claim, pool in in_hand.items():
            held = pool.in_hand.get(claim)
            if held is None or held.settling:
                continue  # it has ended meanwhile
            if claim not in kept:
                pool.lost(claim)
                self._lost(1)
            elif (reason := kept[claim]) is not None:
                pool.cancel(claim, reason)
