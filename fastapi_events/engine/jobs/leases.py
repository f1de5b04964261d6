"""Keeping what is in hand: leases of runs are renewed together, and whoever is to be cancelled is found on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from fastapi_events.engine.jobs.pool import JobPool
from fastapi_events.engine.service import Loop
from fastapi_events.engine.wake import wait_for_flag
from fastapi_events.store.runs import RunClaim, RunQueue

LOOK = 0.45
"""Seconds between two looks whether what is at work is to be cancelled: the net under the notification that says so."""
AGAIN = 0.1
"""Seconds until a lease is asked for again whose run somebody has locked: it may be over when that one lets go."""


class RunLeases(Loop):
    """Renews leases; tells pools of runs that they have lost, or are to cancel."""

    name = "leases of runs"

    def __init__(
        self, queue: RunQueue, pools: Sequence[JobPool], flag: asyncio.Event, *, interval: float,
        lost: Callable[[int], None],
    ) -> None:  # fmt: skip
        super().__init__()
        self._queue, self._pools, self._flag, self._interval, self._lost = queue, pools, flag, interval, lost
        self._now = asyncio.get_running_loop().time
        self._next_renewal = self._now() + interval
        self._next_look = self._now() + LOOK
        self._known: set[RunClaim] = set()
        self._locked: set[RunClaim] = set()

    def interrupt(self) -> None:
        self._flag.set()

    async def turn(self) -> None:
        pause = AGAIN if self._locked else self._next_look - self._now()
        called = await wait_for_flag(self._flag, max(min(self._next_renewal - self._now(), pause), 0.0))
        if self.stopping.is_set():
            return
        if called or self._now() >= self._next_renewal:
            await self.renew()
            self._next_renewal = self._now() + self._interval
            return
        if self._locked:
            await self.renew(self._locked)
        if self._now() >= self._next_look:
            await self.look()
            self._next_look = self._now() + LOOK

    async def look(self) -> None:
        """Cancel what is to be, of that which the last look has met already: most runs are over before."""
        in_hand = {claim: pool for pool in self._pools for claim in pool.claims}
        asked, self._known = self._known & in_hand.keys(), set(in_hand)
        if asked:
            for claim, reason in (await self._queue.find_canceled(asked)).items():
                in_hand[claim].cancel(claim, reason)

    async def renew(self, only: Collection[RunClaim] | None = None) -> None:
        """Once, for everything that is in hand, or for what is ``only`` asked for."""
        in_hand = {claim: pool for pool in self._pools for claim in pool.claims if only is None or claim in only}
        self._locked = set()
        if not in_hand:
            return
        kept, self._locked = await self._queue.renew(list(in_hand))
        for claim, pool in in_hand.items():
            held = pool.in_hand.get(claim)
            if held is None or held.settling:
                self._locked.discard(claim)  # it has ended meanwhile
            elif claim not in kept:
                pool.lost(claim)
                self._lost(1)
            elif (reason := kept[claim]) is not None:
                pool.cancel(claim, reason)
