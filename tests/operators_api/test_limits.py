"""A reading that cannot be had is a friendly 503, and harms nobody."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from fastapi_events.api.observe import Observe
from fastapi_events.errors import ReadingUnavailable
from tests.conftest import NewDatabase
from tests.dashboard.ground import Ground, app_of, client_of
from tests.dashboard.seeding import Seeding


async def test_a_reading_that_takes_too_long_is_given_up(shop: Ground, new_database: NewDatabase) -> None:
    url = await new_database()
    connection = await asyncpg.connect(url)
    await (await Seeding.on(connection)).group()
    await connection.execute(
        "ALTER TABLE events.worker RENAME TO worker_table; "
        "CREATE VIEW events.worker AS SELECT w.* FROM pg_sleep(60), events.worker_table w"
    )
    observe = Observe(url, group="shop")
    async with client_of(app_of(replace(shop.port, observe=observe))) as client:
        data, page = await asyncio.gather(client.get("/events/api/workers"), client.get("/events/dashboard/workers"))
        assert (data.status_code, page.status_code) == (503, 503)
        assert data.headers["retry-after"] == "5"
        assert "took longer than 2 s" in data.json()["detail"]
        assert "took longer than 2 s" in page.text
        assert "handling of events is not affected" in page.text
        assert (await client.get("/events/api/events")).status_code == 200, "the connections serve on"
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active'"
    assert await connection.fetchval(f"{active} AND pid <> pg_backend_pid()") == 0
    await observe.close()
    await connection.close()


async def test_a_locked_table_is_not_waited_for(shop: Ground) -> None:
    other = await asyncpg.connect(shop.url)
    async with other.transaction():
        await other.execute("LOCK TABLE events.delivery IN ACCESS EXCLUSIVE MODE")
        answer = await shop.client.get(
            "/events/dashboard/dead-letters", headers={"HX-Request": "true", "HX-Target": "div#live"}
        )
    await other.close()
    assert answer.status_code == 503
    assert answer.headers["hx-retarget"] == "#notice", "a refresh does not replace the page by an error"
    assert answer.headers["hx-reswap"] == "innerHTML", "and does not scroll it"
    assert (await shop.client.get("/events/dashboard/dead-letters")).status_code == 200


async def test_a_missing_schema_tells_the_mend(shop: Ground, new_database: NewDatabase) -> None:
    observe = Observe(await new_database(schema=False))
    async with client_of(app_of(replace(shop.port, observe=observe))) as client:
        for path in ("/events/api/overview", "/events/dashboard"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "fastapi-events db upgrade" in answer.text.replace("&#39;", "'")
    await observe.close()


async def test_a_server_that_is_away_is_said_to_be_away(shop: Ground) -> None:
    observe = Observe("postgresql://nobody:secret-word@127.0.0.1:1/events")
    async with client_of(app_of(replace(shop.port, observe=observe))) as client:
        for path in ("/events/api/events", "/events/dashboard/events"):
            answer = await client.get(path)
            assert answer.status_code == 503
            assert "secret-word" not in answer.text
            assert "not affected" not in answer.text, "nobody knows that"


async def test_no_more_than_two_connections_and_no_writing(shop: Ground) -> None:
    readings = [shop.port.observe.events("status:done", limit=5) for _ in range(12)]
    await asyncio.gather(*readings)
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fastapi_events readings'"
    assert await shop.connection.fetchval(f"{count} AND datname = current_database()") <= 2


async def test_readings_are_read_only(new_database: NewDatabase) -> None:
    url = await new_database()
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE FUNCTION events.writes() RETURNS boolean LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO events.consumer_group (name) VALUES ('x'); RETURN true; END $$; "
        "ALTER TABLE events.operator_action RENAME TO action_table; "
        "CREATE VIEW events.operator_action AS SELECT * FROM events.action_table WHERE events.writes()"
    )
    observe = Observe(url)
    await connection.execute(
        "INSERT INTO events.action_table (id, action, actor, target) VALUES (gen_random_uuid(), 'a', 'b', 'c')"
    )
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await observe.actions()
    assert await connection.fetchval("SELECT count(*) FROM events.consumer_group") == 0
    await observe.close()
    await connection.close()


async def test_it_works_in_another_event_loop(shop: Ground) -> None:
    def elsewhere() -> int:
        async def read() -> int:
            observe = Observe(shop.url, group="shop")
            try:
                return len((await observe.events()).events)
            finally:
                await observe.close()

        return asyncio.run(read())

    assert await asyncio.to_thread(elsewhere) == 50
    with pytest.raises(ReadingUnavailable):
        await Observe("postgresql://x@127.0.0.1:1/x").workers()
