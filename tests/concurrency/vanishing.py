"""Processes that vanish in the middle of an event, as the database sees it: silent, with everything still in hand."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi_events import Event, Events, Module
from fastapi_events.engine.heartbeat import Heartbeat
from tests.delivery.stage import Placed, Stage, publish, within

SILENT: dict[str, Any] = {"lease": 600.0, "heartbeat": 250.0, "shutdown_grace": 0.0, "notify": "off"}
"""No lease ends within a test: who is dead, and since when, is for the test to say."""

DEAD = "UPDATE events.worker SET lease_until = clock_timestamp() WHERE id = $1"
EXPIRE_LANES = """
    INSERT INTO events.cursor_log
    SELECT group_id, lane, partition, seq + 1, seen, target, position, floor, remaining, clock_timestamp(), worker_id,
           crashes
    FROM (SELECT DISTINCT ON (group_id, lane, partition) * FROM events.cursor_log
          ORDER BY group_id, lane, partition, seq DESC) newest
    WHERE lease_until IS NOT NULL AND worker_id = $1
"""
EXPIRE_KEYS = "UPDATE events.parked_key SET due_at = clock_timestamp() WHERE worker_id = $1"
EXPIRE_SHARES = "UPDATE events.replay_share SET lease_until = clock_timestamp() WHERE worker_id = $1"
MakeModule = Callable[["Killer"], Module]


class Killer:
    """A handler calls it first: an event that is chosen never comes back from it."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.struck = set(numbers), asyncio.Event()

    async def strike(self, number: int) -> None:
        if number in self.numbers:
            self.struck.set()
            await asyncio.Event().wait()


class Fleet:
    """Processes of one service, one after the other; ``seen`` has what was handled, in its order."""

    def __init__(self, stage: Stage, make: MakeModule, *poison: int, **settings: Any) -> None:
        self.stage, self.make, self.poison, self.settings = stage, make, poison, SILENT | settings
        self.vanished: list[Events] = []

    async def fill(self, events: list[Event]) -> None:
        """Publish, once the handlers are known."""
        await publish(await self.stage.idle(self.make(Killer()), **self.settings), events)

    async def silent(self, killer: Killer) -> Events:
        """A process that gives no sign of life but that of its start."""
        events = await self.stage.idle(self.make(killer), **self.settings)
        [heartbeat] = [service for service in events.runtime._services if isinstance(service, Heartbeat)]
        await heartbeat.stop()
        return events

    async def vanish(self) -> Events:
        """A process begins to work and vanishes over the poison."""
        killer = Killer(*self.poison)
        events = await self.silent(killer)
        working = asyncio.create_task(events.drain_once())
        await within(killer.struck.wait())
        working.cancel()
        await asyncio.wait({working})  # what it had handled before is settled
        await self.expire(events)
        self.vanished.append(events)
        return events

    async def others(self, count: int) -> None:
        """As many other processes have vanished just now, over nothing in particular."""
        await self.stage.rows(
            "INSERT INTO events.worker (id, group_id, host, pid, drains, release, connections, lease_until) "
            "SELECT gen_random_uuid(), min(group_id), 'elsewhere', 7, true, '1', 2, clock_timestamp() "
            "FROM events.worker, generate_series(1, $1::int) n GROUP BY n",
            count,
        )

    async def expire(self, events: Events, *, silent: bool = True) -> None:
        """Let all leases of a process run out, and its sign of life with them."""
        worker = events.runtime.worker
        for statement in (EXPIRE_LANES, EXPIRE_KEYS, EXPIRE_SHARES, *((DEAD,) if silent else ())):
            await self.stage.rows(statement, worker)

    async def live(self) -> Events:
        """A process that would vanish too, and handles what is there."""
        killer = Killer(*self.poison)
        events = await self.stage.idle(self.make(killer), **self.settings)
        await within(events.drain_once())
        assert not killer.struck.is_set()
        return events


def orders(*numbers: int) -> list[Event]:
    """Events of one key each."""
    return [Placed(order=str(number), number=number) for number in numbers]
