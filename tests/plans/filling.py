"""Databases with few rows and many, each filled once per run; a test gets a copy."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from fastapi_events import Module
from tests.conftest import run_once, url_of
from tests.delivery.stage import Placed, Stage

Filled = Callable[[int], Awaitable[str]]

FILL = (
    """
    INSERT INTO events.event (lane, partition, name, id, correlation_id, key, payload)
    SELECT 1, n % 32, 'shop.order.placed', gen_random_uuid(), gen_random_uuid(), '/order/' || n % 500, '{"order": "a"}'
    FROM generate_series(1, $1::int) n
    """,
    """
    INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen)
    SELECT 1, lane, p, n, pg_current_snapshot()
    FROM generate_series(1, greatest(3, $1::int / 500)) n, generate_series(0, 31) p, generate_series(0, 2) lane
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO events.delivery (id, handler_id, position, lane, partition, slot, event_id, event_name, state, reason,
                                 published_at)
    SELECT gen_random_uuid(), (SELECT min(id) FROM events.handler), n, 1, n % 32, '/order/' || n % 500,
           gen_random_uuid(), 'shop.order.placed', (ARRAY['waiting', 'done', 'dead'])[1 + n % 3], 'retry', now()
    FROM generate_series(1, $1::int / 10) n
    """,
    """
    INSERT INTO events.parked_key (handler_id, slot, blocked, needs, due_at, suspect)
    SELECT (SELECT min(id) FROM events.handler), '/order/' || n, n % 2 = 0, 2 * (n % 3 / 2), now(), n % 50 = 0
    FROM generate_series(1, $1::int / 10) n
    """,
    """
    INSERT INTO events.processing_mark (handler_id, key, position)
    SELECT (SELECT min(id) FROM events.handler), gen_random_uuid(), n FROM generate_series(1, $1::int / 2) n
    """,
    """
    INSERT INTO events.scheduled_event (id, due_at, lane, partition, correlation_id, occurred_at, name, payload)
    SELECT gen_random_uuid(), now() + n * interval '1 s', 1, n % 32, gen_random_uuid(), now(), 'shop.order.placed', '{}'
    FROM generate_series(1, $1::int) n
    """,
    "INSERT INTO events.event_key (event_id) SELECT gen_random_uuid() FROM generate_series(1, $1::int)",
)
BIG = (
    "event", "cursor_log", "delivery", "parked_key", "processing_mark", "success_batch", "attempt", "scheduled_event",
    "event_key",
)  # fmt: skip


@pytest_asyncio.fixture(scope="session")
async def filled(server_url: str, template: str) -> AsyncIterator[Filled]:
    """Names the database with so many events; its tables have not been analysed."""
    made: dict[int, str] = {}

    async def fill(size: int) -> str:
        if size not in made:
            name = f"events_filled_{os.getpid()}_{size}"
            await run_once(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
            made[size] = name
            await _fill(Stage(url_of(server_url, name)), size)
        return made[size]

    yield fill
    for name in made.values():
        await run_once(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def _fill(stage: Stage, size: int) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed) -> None: ...

    await stage.idle(module, notify="off")
    for table in BIG:
        names = await stage.rows(
            "SELECT relid::text AS name FROM pg_partition_tree($1::text::regclass)", f"events.{table}"
        )
        for row in names:
            if row["name"] != "events.event":
                await stage.rows(f"ALTER TABLE {row['name']} SET (autovacuum_enabled = false)")
    for statement in FILL if size else ():
        await stage.rows(statement, size)
    await stage.close()
