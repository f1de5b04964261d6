"""Waking: a commit is heard of at once; whatever is lost, forged or switched off, polling finds it."""

import asyncio
import subprocess
import sys
import time
from typing import Any

import asyncpg
import pytest

from fastapi_events import Module
from fastapi_events.engine import listener
from tests.delivery.proxy import Proxy
from tests.delivery.stage import SLOW, Placed, Stage, collecting, publish, until, within


@pytest.mark.parametrize("notify", ["after_commit", "transactional"])
async def test_a_commit_wakes_its_own_instance_and_others(stage: Stage, notify: str) -> None:
    here: list[int] = []
    there: list[int] = []
    own = await stage.running(collecting(here), group="here", notify=notify, **SLOW)
    await stage.running(collecting(there), group="there", notify=notify, **SLOW)
    for number in range(3):
        await own.publish(Placed(order="a", number=number))
        await until(lambda: here == there == list(range(number + 1)))  # noqa: B023


async def test_an_instance_that_does_not_drain_wakes_one_that_does(stage: Stage) -> None:
    seen: list[int] = []
    await stage.running(collecting(seen), **SLOW)
    publisher = await stage.idle(**SLOW)
    await publisher.publish(Placed(order="a", number=1))
    await until(lambda: seen == [1])


async def test_another_process_wakes_this_one(stage: Stage) -> None:
    seen: list[int] = []
    await stage.running(collecting(seen), **SLOW)
    script = (
        "import asyncio, sys\n"
        "from fastapi_events import Event, Events, EventsSettings\n"
        "class Pinged(Event, name='shop.page.pinged'):\n    number: int\n"
        "async def main():\n"
        "    events = Events(settings=EventsSettings(database_url=sys.argv[1]))\n"
        "    await events.start(drains=False)\n"
        "    await events.publish(Pinged(number=7))\n"
        "    await events.stop()\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script, stage.url], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    await until(lambda: seen == [7])


async def test_without_notify_polling_finds_it(stage: Stage) -> None:
    seen: list[int] = []
    await stage.running(collecting(seen), notify="off", poll_interval=0.1)
    publisher = await stage.idle(notify="off")
    await publisher.publish(Placed(order="a", number=1))
    await until(lambda: seen == [1])


async def test_rows_written_by_plain_sql_are_found_by_polling(stage: Stage) -> None:
    seen: list[int] = []
    await stage.running(collecting(seen), poll_interval=0.1)
    await stage.rows(
        "INSERT INTO events.event (lane, partition, name, id, correlation_id, payload) "
        "VALUES (1, 3, 'shop.page.pinged', gen_random_uuid(), gen_random_uuid(), '{\"number\": 5}')"
    )
    await until(lambda: seen == [5])


async def test_a_lost_listen_connection_is_made_anew_and_what_was_missed_is_found(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), **SLOW)
    publisher = await stage.idle(notify="off")
    assert events.runtime.listening
    listeners = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    ended: list[int] = []

    async def listens_anew() -> list[int]:
        rows = await stage.rows(f"SELECT pid {listeners} AND pid <> ALL ($1::integer[])", ended)
        return [row["pid"] for row in rows]

    for number in range(3):
        await publisher.publish(Placed(order="a", number=number))  # nobody is told
        ended += await until(listens_anew)
        await stage.rows(f"SELECT pg_terminate_backend(pid) {listeners}")
        await until(lambda: seen == list(range(number + 1)), "the drain after a reconnect")  # noqa: B023


async def test_a_half_open_listen_connection_is_noticed_and_polling_goes_on_meanwhile(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "CHECK_INTERVAL", 0.3)
    monkeypatch.setattr(listener, "CHECK_TIMEOUT", 0.3)
    seen: list[int] = []
    async with Proxy(stage.url) as proxy:
        events = await stage.running(collecting(seen), listen_database_url=proxy.url, poll_interval=0.2)
        publisher = await stage.idle()
        await until(lambda: events.runtime.listening)
        proxy.blackhole.set()
        await publisher.publish(Placed(order="a", number=1))
        await until(lambda: seen == [1], "polling while nobody knows that nobody listens")
        proxy.blackhole = asyncio.Event()  # for those who connect anew
        await until(lambda: not events.runtime.listening, "the self-check")
        await until(lambda: events.runtime.listening, "a new connection")
        assert proxy.connections >= 2
        await within(events.stop(), 8)


async def test_a_connection_that_hangs_at_listen_is_given_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "CHECK_TIMEOUT", 0.2)
    seen: list[int] = []
    async with Proxy(stage.url) as proxy:
        real = asyncpg.Connection.add_listener

        async def swallowed(connection: Any, *arguments: Any) -> None:
            proxy.blackhole.set()
            await real(connection, *arguments)

        monkeypatch.setattr(asyncpg.Connection, "add_listener", swallowed)
        events = stage.make(collecting(seen), listen_database_url=proxy.url)
        started = asyncio.create_task(events.start(drains=True))
        await until(proxy.blackhole.is_set)
        monkeypatch.setattr(asyncpg.Connection, "add_listener", real)
        proxy.blackhole = asyncio.Event()
        await within(started)
        await until(lambda: events.runtime.listening)


async def test_forged_and_garbled_notifications_do_nothing(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), **SLOW)
    for payload in ("", "99", "-1", "k", "1,2,k", "x" * 7000, "1" * 30, "'; DROP SCHEMA events; --", "\u0661", "1,,k"):
        await stage.rows("SELECT pg_notify($1, $2)", events.runtime.channel, payload)
    await events.publish(Placed(order="a", number=1))
    await until(lambda: seen == [1])
    assert events.runtime.listening
    assert all(loop.failing is None for loop in events.runtime.drain_loops)


async def test_a_flood_of_notifications_is_gathered_into_few_looks(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), **SLOW)
    claims = 0
    for loop in events.runtime.drain_loops:
        cursors: Any = loop._cursors
        real = cursors.claim

        async def counted(*arguments: Any, real: Any = real, **more: Any) -> Any:
            nonlocal claims
            claims += 1
            return await real(*arguments, **more)

        cursors.claim = counted
    await stage.rows("SELECT pg_notify($1, n::text) FROM generate_series(1, 5000) n", events.runtime.channel)
    await events.publish(Placed(order="a", number=1))
    await until(lambda: seen == [1])
    assert claims < 1500


async def test_behind_a_pooler_nothing_listens_no_statement_has_a_name_and_polling_delivers(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), pgbouncer=True, poll_interval=0.1, poll_interval_degraded=0.1)
    assert not events.runtime.listening
    await publish(events, [Placed(order="a", number=number) for number in range(5)])
    await until(lambda: seen == list(range(5)))
    async with events.runtime.database.acquire() as connection:
        names = await connection.fetch("SELECT name, statement FROM pg_prepared_statements WHERE name <> ''")
        assert [row["name"] for row in names] == []
        assert await connection.fetchval("SHOW enable_seqscan") == "on"
    async with events.session() as session:
        rows = await (await session.connection()).exec_driver_sql(
            "SELECT name FROM pg_prepared_statements WHERE name <> ''"
        )
        assert rows.all() == []


async def test_the_listener_may_have_an_address_of_its_own(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.running(collecting(seen), pgbouncer=True, listen_database_url=stage.url, **SLOW)
    await until(lambda: events.runtime.listening)
    publisher = await stage.idle()
    await publisher.publish(Placed(order="a", number=1))
    await until(lambda: seen == [1])


async def test_a_retry_is_run_when_it_is_due_though_nothing_wakes_anybody(stage: Stage) -> None:
    from fastapi_events import Delivery, Retry, fixed

    module, attempts = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(0.3)))
    async def handle(event: Placed, delivery: Delivery) -> None:
        attempts.append(time.monotonic())
        if delivery.attempt == 1:
            raise ValueError("not yet")

    events = await stage.running(module, **SLOW)
    await events.publish(Placed(order="a"))
    await until(lambda: len(attempts) == 2)
    assert attempts[1] - attempts[0] >= 0.29


async def test_a_redrive_wakes_the_instance_that_has_the_handler(stage: Stage) -> None:
    from fastapi_events import Retry

    module, seen, mended = Module("shop"), [], []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        if not mended:
            raise ValueError("broken")
        seen.append(event.number)

    await stage.running(module, **SLOW)
    operator = await stage.idle(**SLOW)
    await operator.publish(Placed(order="a", number=1))
    [dead] = await until(lambda: stage.deliveries("dead"))
    mended.append(True)
    await operator.operations.redrive([dead["id"]], actor="me")
    await until(lambda: seen == [1])
