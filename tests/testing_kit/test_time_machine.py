"""Time that passes for what is stored, and for nothing else."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fastapi_events import Breaker, Events, Module, Retry, RetryLater, fixed
from fastapi_events.errors import NotStarted, SettingsError
from fastapi_events.testing.time_machine import TimeMachine
from tests.conftest import NewDatabase
from tests.delivery.stage import SLOW, Pinged, Placed, Stage, until

HOUR = timedelta(hours=1)

# What is deliberately left where it is. Any other moment of the schema has to move: see store/sql/advance_clock.sql.
KEPT = {
    ("event", "occurred_at"): "the publisher says it",
    ("scheduled_event", "occurred_at"): "the publisher says it",
    ("handler", "start_time"): "the handler's declaration says it, and it is looked at once, when that is new",
    ("schema_version", "changed_at"): "nothing depends on it",
}
_MOMENT = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)
_DUMMIES = {
    "uuid": "'00000000-0000-7000-8000-000000000001'",
    "jsonb": "'{}'",
    "pg_snapshot": "'10:10:'",
    "boolean": "true",
    "integer[]": "'{}'",
    "bigint[]": "'{}'",
}


_FITTING = (
    ("delivery", "state", "dead"),
    ("run_queue", "state", "t"),
    ("run_end", "state", "failed"),
    ("run_step", "kind", "step"),
    ("run_step", "state", "done"),
    ("schedule", "missed", "once"),
)
"""What a column takes that does not take everything."""


async def _moments(stage: Stage) -> list[tuple[str, str, str]]:
    """Every column of the schema that holds moments: table, column, type."""
    rows = await stage.rows(
        """
        SELECT c.relname, a.attname, format_type(a.atttypid, NULL) AS type
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'events'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND a.attnum > 0 AND NOT a.attisdropped AND format_type(a.atttypid, NULL) ~ '^(timestamp|date|interval)'
        """
    )
    return [(row["relname"], row["attname"], row["type"]) for row in rows]


async def _fill(stage: Stage, table: str, moments: dict[str, str]) -> None:
    """One row, every moment of which is the same."""
    columns = await stage.rows(
        """
        SELECT a.attname, format_type(a.atttypid, NULL) AS type
        FROM pg_attribute a
        WHERE a.attrelid = ('events.' || $1)::regclass AND a.attnum > 0 AND NOT a.attisdropped
          AND (a.attname = ANY ($2) OR a.attnotnull AND NOT a.atthasdef AND a.attidentity = '')
        """,
        table,
        list(moments),
    )
    values = {row["attname"]: _DUMMIES.get(row["type"], "'1'") for row in columns}
    for name, kind in moments.items():
        values[name] = f"ARRAY['{_MOMENT}'::timestamptz]" if kind.endswith("[]") else f"'{_MOMENT}'"
    for where, column, value in _FITTING:
        if where == table:
            values[column] = f"'{value}'"
    statement = f"INSERT INTO events.{table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
    if table not in ("installation", "schema_version"):  # they have the only row that they may
        await stage.rows(statement)
    # The instance's own row keeps its lease: it lives through that time.
    others = f"id = {_DUMMIES['uuid']}" if table == "worker" else "true"
    await stage.rows(
        f"UPDATE events.{table} SET {', '.join(f'{name} = {values[name]}' for name in moments)} WHERE {others}"
    )


async def test_every_moment_of_the_schema_moves_or_is_known_not_to(new_database: NewDatabase) -> None:
    stage = Stage(await new_database())
    try:
        await _check_every_moment(stage)
    finally:
        await stage.close()


async def _check_every_moment(stage: Stage) -> None:
    events = await stage.idle(development=True, **SLOW)
    columns = await _moments(stage)
    tables = {table: {c: kind for t, c, kind in columns if t == table} for table, _, _ in columns}
    await stage.rows("SET session_replication_role = replica")  # no foreign key has a say
    for table, moments in tables.items():
        await _fill(stage, table, moments)

    await TimeMachine(events).advance(HOUR)

    left: set[tuple[str, str]] = set()
    for table, moments in tables.items():
        for column, kind in moments.items():
            found = await stage.rows(f"SELECT {column} AS moment FROM events.{table} WHERE {column} IS NOT NULL")
            values = {value for row in found for value in (row["moment"] if kind.endswith("[]") else [row["moment"]])}
            if _MOMENT in values:
                left.add((table, column))
            else:
                assert _MOMENT - HOUR in values, f"events.{table}.{column} moved by another time: {values}"
    assert left == set(KEPT), (
        "a moment of the schema does not move with the time machine: add it to store/sql/advance_clock.sql, or to "
        "KEPT here with the reason"
    )


async def test_a_copy_of_an_event_is_older_too(stage: Stage) -> None:
    events = await stage.idle(development=True)
    await stage.rows("SET session_replication_role = replica")
    await _fill(stage, "delivery", {"published_at": "timestamptz"})
    await stage.rows(
        "UPDATE events.delivery SET event = jsonb_build_object('published_at', published_at, 'name', 'a.b.c')"
    )
    await TimeMachine(events).advance(HOUR)
    copy = await stage.rows(
        "SELECT (event ->> 'published_at')::timestamptz AS at, event ->> 'name' AS name FROM events.delivery"
    )
    assert [(row["at"], row["name"]) for row in copy] == [(_MOMENT - HOUR, "a.b.c")]


def _failing(attempts: list[int], *, failures: int, **options: Any) -> Module:
    module = Module("shop")

    @module.on(Placed, **options)
    async def place(event: Placed) -> None:
        attempts.append(event.number)
        if len(attempts) <= failures:
            raise RuntimeError("not yet")

    return module


async def test_a_retry_is_due_when_its_time_has_passed(stage: Stage) -> None:
    attempts: list[int] = []
    module = _failing(attempts, failures=2, retry=Retry(max_attempts=3, backoff=fixed(600)))
    events = await stage.idle(module, development=True)
    time_machine = TimeMachine(events)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    await time_machine.advance(timedelta(seconds=590))
    await events.drain_once()
    assert len(attempts) == 1
    await time_machine.advance(10)
    await events.drain_once()
    assert len(attempts) == 2
    await time_machine.advance(600)
    await events.drain_once()
    assert len(attempts) == 3
    assert await stage.deliveries("dead") == []


async def test_running_loops_look_at_once(stage: Stage) -> None:
    attempts: list[int] = []
    module = _failing(attempts, failures=1, retry=Retry(max_attempts=3, backoff=fixed(6000)))
    events = await stage.running(module, development=True, **SLOW)
    await events.publish(Placed(order="a"))
    await until(lambda: stage.value("SELECT count(*) FROM events.parked_key WHERE due_at < 'infinity'"))
    await events.publish(Pinged(), delay=6000)
    await TimeMachine(events).advance(timedelta(hours=3))
    await until(lambda: len(attempts) == 2)
    await until(lambda: stage.value("SELECT count(*) = 2 FROM events.event"))


async def test_a_scheduled_event_comes_when_its_time_has_passed(stage: Stage) -> None:
    attempts: list[int] = []
    events = await stage.idle(_failing(attempts, failures=0), development=True)
    await events.publish(Placed(order="a", number=7), delay=timedelta(days=30))
    await TimeMachine(events).advance(timedelta(days=29))
    await events.drain_once()
    assert attempts == []
    await TimeMachine(events).advance(timedelta(days=1))
    await events.drain_once()
    assert attempts == [7]


async def test_postponing_ends_with_its_longest_age(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed)
    async def place(event: Placed) -> None:
        raise RetryLater(3600, max_age=timedelta(hours=2, minutes=30))

    events = await stage.idle(module, development=True)
    await events.publish(Placed(order="a"))
    for _ in range(2):
        await events.drain_once()
        await TimeMachine(events).advance(HOUR)
    await events.drain_once()
    assert [row["reason"] for row in await stage.deliveries("dead")] == ["max_attempts"]


async def test_leases_of_others_run_out_and_ones_own_do_not(stage: Stage) -> None:
    ones_own, others = await stage.idle(development=True), await stage.idle()
    await TimeMachine(ones_own).advance(HOUR)
    alive = await stage.rows("SELECT id FROM events.worker WHERE lease_until > clock_timestamp()")
    assert {row["id"] for row in alive} <= {ones_own.runtime.worker, others.runtime.worker}
    assert ones_own.runtime.worker in {row["id"] for row in alive}


async def test_a_dead_process_partition_is_taken_over(stage: Stage) -> None:
    seen: list[int] = []
    events = await stage.idle(_failing(seen, failures=0), development=True, lease=3000.0)
    await events.publish(Placed(order="a", number=1))
    # Somebody claimed every partition and died.
    await stage.rows(
        "INSERT INTO events.cursor_log SELECT group_id, lane, partition, seq + 1, seen, target, position, floor, "
        "remaining, clock_timestamp() + interval '50 minutes', gen_random_uuid() FROM events.cursor_log"
    )
    await events.drain_once()
    assert seen == []
    await TimeMachine(events).advance(HOUR)
    await events.drain_once()
    assert seen == [1]


async def test_a_breaker_lets_its_probe_through_when_its_pause_is_over(stage: Stage) -> None:
    attempts: list[int] = []
    breaker = Breaker(threshold=3, window=60, recovery=900)
    module = _failing(attempts, failures=3, retry=Retry(max_attempts=9, backoff=fixed(0)), breaker=breaker)
    events = await stage.idle(module, development=True)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert len(attempts) == 3
    await TimeMachine(events).advance(800)
    await events.drain_once()
    assert len(attempts) == 3
    await TimeMachine(events).advance(101)
    await events.drain_once()
    assert len(attempts) == 4
    assert await stage.value("SELECT opened_at IS NULL FROM events.breaker")


async def test_failures_of_long_ago_open_no_breaker(stage: Stage) -> None:
    attempts: list[int] = []
    breaker = Breaker(threshold=3, window=60, recovery=900)
    module = _failing(attempts, failures=9, retry=Retry(max_attempts=9, backoff=fixed(120)), breaker=breaker)
    events = await stage.idle(module, development=True)
    await events.publish(Placed(order="a"))
    for number in range(1, 6):
        await events.drain_once()
        assert len(attempts) == number
        await TimeMachine(events).advance(120)
    # What the process itself remembers of them is as old as what the database does.
    [handler] = events.runtime.plan.by_number.values()
    now = asyncio.get_running_loop().time()
    assert [now - moment > 60 for moment in handler.failed_at] == [True]
    assert await stage.value("SELECT opened_at IS NULL FROM events.breaker")


async def test_production_is_refused_and_nothing_moves(stage: Stage) -> None:
    events, guarded = await stage.idle(development=True), await stage.idle()
    before = await stage.value("SELECT created_at FROM events.installation")
    with pytest.raises(SettingsError, match="development=True"):
        await TimeMachine(events, guarded).advance(HOUR)
    assert await stage.value("SELECT created_at FROM events.installation") == before


@pytest.mark.parametrize("by", [timedelta(0), -1, float("nan"), float("inf"), "1h"])
async def test_time_only_passes(stage: Stage, by: Any) -> None:
    events = await stage.idle(development=True)
    with pytest.raises(SettingsError, match="above zero"):
        await TimeMachine(events).advance(by)


async def test_an_instance_must_be_started() -> None:
    with pytest.raises(SettingsError, match="started Events object"):
        TimeMachine()
    from fastapi_events import EventsSettings

    with pytest.raises(NotStarted):
        await TimeMachine(Events(settings=EventsSettings(development=True))).advance(1)
