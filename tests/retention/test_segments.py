"""Whole segments: cut by how fast the log grows, dropped when everything in them is past its age and read."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from typer.testing import CliRunner

from fastapi_events import DeadLetter, Module, Retry, RetryLater
from fastapi_events.cli.commands import app as command_line
from fastapi_events.engine.pruning import Pruned
from fastapi_events.store.segments import Segment, SegmentStore
from fastapi_events.store.upkeep import UpkeepStore
from tests.conftest import NewDatabase
from tests.delivery.stage import Placed, Stage, collecting, publish, until
from tests.retention.aging import SEGMENT, age, count


@pytest_asyncio.fixture
async def stage(new_database: NewDatabase) -> AsyncIterator[Stage]:
    """A stage on a database of its own: segments come and go."""
    stage = Stage(await new_database())
    yield stage
    await stage.close()


async def prune(events: Any) -> Pruned:
    pruned: Pruned = await events.runtime.pruner.prune(math.inf)
    assert not pruned.busy
    return pruned


async def go_on_in_the_next_segment(stage: Stage, events: Any) -> None:
    """The log has filled its first segment, and nobody writes to that any more."""
    await stage.rows(f"SELECT setval('events.event_position', {SEGMENT})")
    await UpkeepStore(events.runtime.database, events.runtime.statements).tidy()
    assert await stage.value("SELECT sealed_before IS NOT NULL FROM events.log_segment WHERE lower = 0")
    await stage.rows("SELECT pg_current_xact_id()")  # the next snapshot begins after it


async def lowers(stage: Stage) -> list[int]:
    """Where the segments begin, by the record and by the catalogue, which agree."""
    known = [row["lower"] for row in await stage.rows("SELECT lower FROM events.log_segment ORDER BY 1")]
    tables = await stage.rows("SELECT relid::text AS name FROM pg_partition_tree('events.event') WHERE isleaf")
    names = await stage.rows(r"SELECT relname FROM pg_class WHERE relname ~ '^event_\d+$' AND relkind = 'r'")
    assert sorted(row["name"] for row in tables) == sorted(f"events.event_{lower}" for lower in known)
    assert sorted(row["relname"] for row in names) == sorted(f"event_{lower}" for lower in known)
    return known


async def test_a_segment_is_dropped_as_a_whole(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    await publish(events, [Placed(order=str(n), number=n) for n in range(40)])
    await events.drain_once()
    await go_on_in_the_next_segment(stage, events)
    await publish(events, [Placed(order=str(n), number=n) for n in range(40, 60)])
    await age(stage, 29)
    assert (await prune(events)).segments == 0
    await age(stage, 2, "event", where=f"position < {SEGMENT}")
    pruned = await prune(events)
    assert (pruned.segments, pruned.rows.get("event", 0)) == (1, 0)
    assert (await lowers(stage))[0] == SEGMENT
    await publish(events, [Placed(order="a", number=60)])
    await events.drain_once()
    assert sorted(seen) == list(range(61))
    page = await events.observe.events(limit=100)
    assert len(page.events) == 21
    assert (page.older, page.searched_to) == (None, None)
    below = await events.observe.events(before=5)
    assert (below.events, below.older) == ((), None)
    assert (await events.observe.log()).first_position == SEGMENT + 1


async def test_one_that_a_group_has_not_read_stays(stage: Stage) -> None:
    seen: list[int] = []
    slow, events = await stage.idle(collecting(seen), group="slow"), await stage.idle(collecting([]))
    await publish(events, [Placed(order=str(n), number=n) for n in range(40)])
    await events.drain_once()
    await go_on_in_the_next_segment(stage, events)
    await age(stage, 31)
    pruned = await prune(events)
    assert (pruned.segments, "event" in pruned.rows) == (0, False)
    await slow.drain_once()
    assert len(seen) == 40
    assert (await prune(events)).segments == 1


async def test_one_that_somebody_may_still_write_to_stays(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(collecting(seen))
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a", number=1))
        await session.flush()
        writer = await asyncpg.connect(stage.url)
        transaction = writer.transaction()
        await transaction.start()
        await writer.execute("SELECT pg_current_xact_id()")
        await go_on_in_the_next_segment(stage, events)
        assert (await prune(events)).segments == 0
        await transaction.rollback()
        await writer.close()
        await session.commit()
    await events.drain_once()
    assert seen == [1]
    assert (await prune(events)).segments == 1


async def test_one_that_is_young_in_part_is_left_until_it_is_old(stage: Stage) -> None:
    """Nothing is removed row by row from a segment that will go as a whole soon; from others it is."""
    events = await stage.idle(collecting([]))
    await publish(events, [Placed(order="a", number=1)])
    await age(stage, 33, "event")
    await publish(events, [Placed(order="a", number=2)])
    await events.drain_once()
    await go_on_in_the_next_segment(stage, events)
    await age(stage, 27, "event", where="published_at > now() - interval '1 hour'")
    assert (await prune(events)).rows.get("event", 0) == 0
    await age(stage, -20, "event", where="published_at > now() - interval '30 days'")
    assert (await prune(events)).rows["event"] == 1


async def test_what_waits_takes_its_copy_along(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi_events.store.retention.ROWS_AT_ONCE", 2)
    module, ready, seen = Module("shop"), list[bool](), list[int]()

    @module.on(Placed, ordered=False, retry=Retry(max_attempts=1))
    async def reserve(event: Placed) -> None:
        if event.number == 0:
            raise DeadLetter("never")
        if not ready:
            raise RetryLater(1)
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order=str(n), number=n) for n in range(7)])
    await events.drain_once()
    await go_on_in_the_next_segment(stage, events)
    await age(stage, 31)
    for _ in range(20):  # in as many rounds as it takes
        if (await events.runtime.pruner.prune(1e-9)).segments:
            break
    assert await count(stage, "event") == 0
    assert await count(stage, "delivery", "event IS NULL AND state IN ('waiting', 'dead')") == 0
    ready.append(True)
    await stage.make_due()
    await events.drain_once()
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]


async def test_a_publisher_in_the_way_is_not_waited_for(stage: Stage) -> None:
    events = await stage.idle(collecting([]))
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    await go_on_in_the_next_segment(stage, events)
    await age(stage, 31)
    async with events.session() as session:
        await (await session.connection()).execute(text("LOCK TABLE events.event IN ROW EXCLUSIVE MODE"))
        assert (await prune(events)).segments == 0
        await publish(events, [Placed(order="b", number=3)])  # nobody is locked out meanwhile
        await session.commit()
    assert (await prune(events)).segments == 1


async def test_a_table_that_was_detached_only_is_dropped_later(stage: Stage) -> None:
    """The process ended between the two transactions."""
    events = await stage.idle(collecting([]))
    await go_on_in_the_next_segment(stage, events)
    await stage.rows("ALTER TABLE events.event DETACH PARTITION events.event_0")
    await stage.rows("UPDATE events.log_segment SET dropping = true WHERE lower = 0")
    assert await stage.value(events.runtime.statements["read_log_bounds"]) == SEGMENT
    assert (await prune(events)).segments == 1
    assert (await lowers(stage))[0] == SEGMENT


async def test_two_processes_drop_a_segment_once(stage: Stage) -> None:
    events = await stage.idle(collecting([]))
    await go_on_in_the_next_segment(stage, events)
    stores = [SegmentStore(events.runtime.database, events.runtime.statements) for _ in range(2)]
    found = Segment(0, SEGMENT, over=True, dropping=False)
    results = await asyncio.gather(*(store.drop(found) for store in stores))
    assert sorted(results) == [False, True]
    assert (await lowers(stage))[0] == SEGMENT


async def test_dropping_beside_publishers_and_the_drain(stage: Stage) -> None:
    """Every event is handled once while the segment below them goes."""
    seen: list[int] = []
    events = await stage.running(collecting(seen))
    await publish(events, [Placed(order=str(n % 7), number=n) for n in range(100)])
    await until(lambda: len(seen) == 100)
    await go_on_in_the_next_segment(stage, events)
    await age(stage, 31)
    dropped = asyncio.Event()

    async def prunes() -> None:
        while not (await events.runtime.pruner.prune(0.05)).segments:
            await asyncio.sleep(0)
        dropped.set()

    pruning, number = asyncio.create_task(prunes()), 100
    while not dropped.is_set() or number < 400:
        await publish(events, [Placed(order=str(n % 7), number=n) for n in range(number, number + 20)])
        number += 20
        assert number < 20_000
    await pruning
    await until(lambda: len(seen) >= number)
    assert sorted(seen) == list(range(number))
    assert (await lowers(stage))[0] == SEGMENT


@pytest.mark.parametrize(
    ("days", "retention", "sizes"), [(30, 30, 1), (1, 30, 3), (0.1, 30, 16), (1, 10, 1), (1, 0, 3), (0.5, 60, 12)]
)
async def test_segments_are_as_wide_as_the_log_grows(stage: Stage, days: float, retention: int, sizes: int) -> None:
    """The last 16.8 million positions took so many days."""
    events = await stage.idle(collecting([]))
    await publish(events, [Placed(order="a", number=1)])
    await stage.rows(f"SELECT setval('events.event_position', {SEGMENT + 1})")
    await age(stage, days, "event")
    store = SegmentStore(events.runtime.database, events.runtime.statements)
    await store.extend(retention * 86_400.0 or None)
    upper = await stage.value("SELECT max(upper) FROM events.log_segment")
    assert upper - 2 * SEGMENT == sizes * SEGMENT


async def test_a_role_that_owns_nothing_says_so_once(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, role = stage.url, f"plain_{abs(hash(stage.url))}"
    events = await stage.idle(collecting([]))
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    await go_on_in_the_next_segment(stage, events)
    await age(stage, 31)
    await stage.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    try:
        for grant in (
            "USAGE ON SCHEMA events",
            "ALL ON ALL TABLES IN SCHEMA events",
            "ALL ON ALL SEQUENCES IN SCHEMA events",
        ):
            await stage.rows(f"GRANT {grant} TO {role}")
        parts = urlsplit(owner)
        host = parts.netloc.rpartition("@")[2]
        stage.url = urlunsplit(parts._replace(netloc=f"{role}:x@{host}"))
        plain = await stage.idle(collecting([]))
        with caplog.at_level(logging.WARNING, "fastapi_events"):
            assert (await prune(plain)).segments == 0
            assert (await prune(plain)).segments == 0
        assert caplog.text.count("Run 'fastapi-events db maintain'") == 1
        result = await asyncio.to_thread(CliRunner().invoke, command_line, ["db", "maintain", "--database-url", owner])
        assert result.exit_code == 0, result.output
        assert "Removed 1 segments of the log as a whole." in result.output
        assert (await prune(plain)).segments == 0
        await plain.stop()
        stage.instances.remove(plain)
    finally:
        for statement in (f"DROP OWNED BY {role}", f"DROP ROLE {role}"):
            await stage.rows(statement)
