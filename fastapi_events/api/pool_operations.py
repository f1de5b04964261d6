"""How much is done at once: changed while the processes run."""

from __future__ import annotations

from difflib import get_close_matches

from fastapi_events.api.gate_operations import GateOperations, record_of
from fastapi_events.api.observe.given import whole
from fastapi_events.errors import OperationRefused
from fastapi_events.settings.concurrency import POOLS
from fastapi_events.store.pools import PoolStore

MOST_AT_ONCE = 10_000
"""In one pool of one process."""


class PoolOperations(GateOperations):
    """What operators do with the pools of this group. Every call is recorded with its actor."""

    _pools: PoolStore

    async def set_pool(self, name: str, concurrency: int, *, actor: str, reason: str = "") -> bool:
        """Have so many runs, or handlers, of a pool at work at once in each process, whatever its settings say.

        Of a pool of jobs as well as of the reserved ones: ``events_inbound``, ``events_change``, ``events_outbound``,
        ``events_replay``. Processes learn of it at once, or within a heartbeat; it outlasts restarts, until
        ``reset_pool``. What is at work above a lower number is finished. Returns whether that changed anything. Raises
        ``OperationRefused`` for a number that is not from 1 to 10,000, and for a pool that the group does not have.
        """
        if not 1 <= whole("concurrency", concurrency) <= MOST_AT_ONCE:
            raise OperationRefused(
                f"set_pool: concurrency={concurrency} is not from 1 to {MOST_AT_ONCE:,}. To have nothing done, "
                "pause the jobs (pause_job), the handlers or the lane (pause)."
            )
        return await self._say("set_pool", name, concurrency, actor, reason)

    async def reset_pool(self, name: str, *, actor: str, reason: str = "") -> bool:
        """Have the number of each process's settings hold again; returns whether another one did. Raises as above."""
        return await self._say("reset_pool", name, None, actor, reason)

    async def _say(self, action: str, name: str, number: int | None, actor: str, reason: str) -> bool:
        self._check_whole(action)
        record = record_of(action, name, actor, reason)
        record["details"]["concurrency"] = number
        group = self._group_id()
        if name not in POOLS and name not in (known := await self._pools.names(group)):
            raise OperationRefused(f"{action}: {_no_pool(name, sorted({*POOLS, *known}))}")
        return self._told(await self._store.set_pool(group, name, number, **record))


def _no_pool(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1)
    mend = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}."
    return f"no job or live process of this group has a pool {ascii(name)[:80]}. {mend}"
