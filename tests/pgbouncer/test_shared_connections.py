"""What clients of one pooler share: nobody meets the settings, statements, locks or transactions of somebody else."""

import asyncio
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

import fastapi_events
from fastapi_events import HandlerSession, Module, Retry, fixed
from fastapi_events.cli.commands import app as command_line
from tests.conftest import NewDatabase
from tests.delivery.stage import Placed, Stage, effect, publish, until
from tests.pgbouncer.pooler import SERVERS, PgBouncer, PooledStage

MIGRATIONS = Path(fastapi_events.__file__).parent / "migrations" / "alembic.ini"


async def test_the_stage_hands_every_transaction_to_another_server_and_sees_what_is_left_there(
    stage: PooledStage,
) -> None:
    client = await asyncpg.connect(stage.pooler.url, statement_cache_size=0)
    servers = [await client.fetchval("SELECT pg_backend_pid()") for _ in range(SERVERS)]
    assert len(set(servers)) == SERVERS
    for leave, undo, found in (
        ("SET lock_timeout = '2s'", "RESET ALL", "lock_timeout = 2000"),
        ("SET synchronous_commit = off", "RESET ALL", "synchronous_commit = off"),
        ("SET jit_above_cost = -1", "RESET ALL", "jit_above_cost = -1"),
        ("SET search_path = events", "RESET ALL", "search_path = events"),
        ("PREPARE mine AS SELECT 1", "DEALLOCATE ALL", "statement mine: PREPARE mine AS SELECT 1"),
        ("LISTEN somebody", "UNLISTEN *", "channel somebody"),
        ("SELECT pg_advisory_lock(7)", "DISCARD ALL", "lock 7"),
    ):
        await client.execute(leave)
        assert await stage.leftovers() == [found]
        for _ in range(SERVERS):
            await client.execute(undo)
    await client.close()


async def test_an_app_that_was_not_told_of_the_pooler_is_refused_at_once(
    clean_database: str, pooler: PgBouncer
) -> None:
    events = Stage(clean_database).make(database_url=pooler.url)
    with pytest.raises(asyncpg.ProtocolViolationError, match="unsupported startup parameter"):
        await events.start()


async def test_every_reading_leaves_nothing(stage: PooledStage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        raise ValueError("never")

    events = await stage.idle(module)
    published = await events.publish(Placed(order="a", number=1))
    await events.drain_once()
    observe = events.observe
    [letter] = (await observe.dead_letters()).dead_letters
    for read in (
        observe.dead_letters,
        partial(observe.delivery, letter.id),
        partial(observe.event, published.event_id),
        partial(observe.events, "status:dead"),
        observe.overview,
        observe.handlers,
        observe.workers,
        observe.actions,
        observe.dead_letter_groups,
        observe.dead_letter_count,
        observe.oldest_pending_age,
    ):
        await observe.close()  # a new connection asks for the types of its parameters anew
        await read()
        assert await stage.leftovers() == [], read


async def test_a_transaction_that_was_given_up_is_gone_and_its_limits_with_it(stage: PooledStage) -> None:
    module, attempts = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(0)), timeout=0.3)
    async def handle(event: Placed, session: HandlerSession) -> None:
        attempts.append(event.number)
        await effect(session, "handle", event.number, label="once")
        if len(attempts) == 1:
            await asyncio.sleep(60)

    events = await stage.idle(module, sessions=stage.sessions())
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    assert attempts == [1, 1]
    assert await stage.value("SELECT array_agg(number) FROM effect") == [1]
    assert await stage.deliveries("dead") == []
    assert await stage.leftovers() == []


async def test_the_work_goes_on_when_the_pooler_has_been_started_anew(stage: PooledStage) -> None:
    module, seen = Module("shop"), set[int]()

    @module.on(Placed)
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", event.number, label=str(event.number))

    @module.on(Placed)
    async def plain(event: Placed) -> None:
        seen.add(event.number)

    events = await stage.running(module, sessions=stage.sessions(), poll_interval=0.1, lease=2.0)
    await publish(events, [Placed(order=f"order {number}", number=number) for number in range(50)])
    await until(lambda: seen)
    await stage.pooler.start_anew()
    await until(lambda: published(events, range(50, 60)), "a pool without dead connections")
    await until(lambda: seen == set(range(60)))

    async def effects() -> bool:
        return await stage.value("SELECT array_agg(number ORDER BY number) FROM effect") == list(range(60))

    await until(effects)
    assert await stage.deliveries("dead") == []


@pytest.mark.parametrize("command", ["upgrade", "check", "maintain"])
async def test_the_command_line_works_through_the_pooler_again_and_again(
    stage: PooledStage, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("EVENTS_PGBOUNCER", "1")
    for _ in range(2 * SERVERS):
        arguments = ["db", command, "--database-url", stage.pooler.url]
        done = await asyncio.to_thread(CliRunner().invoke, command_line, arguments)
        assert done.exit_code == 0, done.output or done.exception
    assert await stage.leftovers() == []


async def test_the_command_line_installs_the_schema_through_the_pooler(
    pooler: PgBouncer, new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTS_PGBOUNCER", "1")
    url = await new_database(schema=False)
    stage = Stage(url)
    arguments = ["--database-url", pooler.url_of(url)]
    for command in (["upgrade"], ["check"], ["downgrade", "0", "--yes"], ["upgrade"]):
        done = await asyncio.to_thread(CliRunner().invoke, command_line, ["db", *command, *arguments])
        assert done.exit_code == 0, done.output or done.exception
    try:
        assert await stage.value("SELECT count(*) FROM events.schema_version") >= 1
    finally:
        await stage.close()


async def test_alembic_upgrades_through_the_pooler_again_and_again(
    pooler: PgBouncer, new_database: NewDatabase
) -> None:
    url = pooler.url_of(await new_database(schema=False))
    for _ in range(2):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "alembic", "-c", str(MIGRATIONS), "upgrade", "head"],
            env={**os.environ, "EVENTS_DATABASE_URL": url}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


async def published(events: Any, numbers: range) -> bool:
    """Publish; False while the application's pool still gives out connections that the pooler has ended."""
    try:
        await publish(events, [Placed(order=f"order {number}", number=number) for number in numbers])
    except (DBAPIError, OSError):
        return False
    return True
