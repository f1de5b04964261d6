"""Every hot statement keeps to its indexes: with few rows and many, before and after ANALYZE.

The plans are those of the bookkeeping connections, which plan once for all parameters.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements
from tests.conftest import run_once, url_of
from tests.delivery.stage import Stage
from tests.plans.filling import BIG, Filled

__all__ = ["BIG", "Planner", "planner"]


@dataclass(frozen=True)
class Scan:
    """One look at a table: how, by which index of the parent table, under which condition."""

    kind: str
    table: str
    index: str | None
    condition: str


class Planner:
    def __init__(self, connection: Any, indexes: dict[str, str]) -> None:
        self._connection, self._indexes = connection, indexes

    async def scans(self, query: str, arguments: str = "") -> list[Scan]:
        """The scans of a statement's plan: one for all arguments, or the one for these."""
        parameters = max(map(int, re.findall(r"\$(\d+)", query)))
        kind = "force_custom_plan" if arguments else "force_generic_plan"
        await self._connection.execute(f"SET plan_cache_mode = {kind}")
        await self._connection.execute(f"PREPARE hot AS {query}")
        try:
            nulls = ", ".join(["NULL"] * parameters)
            plan = json.loads(
                await self._connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot({arguments or nulls})")
            )
        finally:
            await self._connection.execute("DEALLOCATE hot; SET plan_cache_mode = force_generic_plan")
        return list(self._walk(plan[0]["Plan"]))

    async def looks(self, claim: str) -> list[dict[str, Any]]:
        """The nodes of the plan of a claim that is made by a worker which holds nothing."""
        arguments = "1, 1, 32, gen_random_uuid(), 10, 100, '{}', '{}', '{}', '{}', '{}', '{}', '{}', NULL, false"
        return await self.nodes(claim, arguments)

    async def nodes(self, statement: str, arguments: str) -> list[dict[str, Any]]:
        """The nodes of the plan of a statement that is carried out."""
        await self._connection.execute(f"PREPARE hot AS {statement}")
        try:
            plan = await self._connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot({arguments})")
        finally:
            await self._connection.execute("DEALLOCATE hot")
        nodes = [json.loads(plan)[0]["Plan"]]
        for node in nodes:
            nodes.extend(node.get("Plans", ()))
        return nodes

    def _walk(self, node: dict[str, Any]) -> Any:
        if "Relation Name" in node and "Scan" in node["Node Type"]:
            index = node.get("Index Name")
            table = re.sub(r"^event_\d+$", "event", node["Relation Name"])
            yield Scan(node["Node Type"], table, self._indexes.get(index, index), node.get("Index Cond", ""))
        for inner in node.get("Plans", ()):
            yield from self._walk(inner)


async def parents_of_indexes(stage: Stage) -> dict[str, str]:
    """By the names of a partitioned table's indexes in its parts, those that they have in all of it."""
    rows = await stage.rows(
        "SELECT i.inhrelid::regclass::text AS child, p.relname AS parent FROM pg_inherits i JOIN pg_class p "
        "ON p.oid = i.inhparent WHERE p.relkind = 'I'"
    )
    return {row["child"].removeprefix("events."): row["parent"] for row in rows}


@pytest_asyncio.fixture(params=["0", "100", pytest.param("100000", marks=pytest.mark.long)])
async def planner(
    request: pytest.FixtureRequest, server_url: str, filled: Filled
) -> AsyncIterator[tuple[Planner, Stage, Any]]:
    """A filled database; its tables have not been analysed."""
    name = f"events_planned_{os.getpid()}"
    await run_once(server_url, f"CREATE DATABASE {name} TEMPLATE {await filled(int(request.param))}")
    stage = Stage(url_of(server_url, name))
    database = Database(stage.url)
    await database.open()
    indexes = await parents_of_indexes(stage)
    async with database.acquire() as connection:
        yield Planner(connection, indexes), stage, SimpleNamespace(runtime=SimpleNamespace(statements=Statements()))
    await database.close()
    await stage.close()
    await run_once(server_url, f"DROP DATABASE {name} WITH (FORCE)")


HOT = (
    "claim_windows", "settle_batch", "claim_keys", "next_due", "read_queue", "settle_key", "release_keys",
    "find_key", "mark_list", "heartbeat", "find_marks", "find_tombstone", "mark_processed", "append_event",
    "append_plain_event", "append_events", "append_keyed_events", "schedule_events", "next_scheduled",
    "append_due_events", "cancel_scheduled_event", "read_tail", "read_own_events", "count_unread", "claim_suspect",
    "begin_alone", "end_alone", "doubt_keys", "count_vanished",
)  # fmt: skip


OF_WORKERS = {
    "claim_windows": {"worker_pkey", "worker_alive"},
    "claim_keys": {"worker_pkey"},
    "begin_alone": {"worker_pkey", "worker_alone", "worker_alive"},
    "end_alone": {"worker_pkey"},
    "count_vanished": {"worker_pkey", "worker_alive"},
}
EXPECTED = {
    "claim_keys": {"parked_key_due", "parked_key_newer"},
    "next_due": {"parked_key_due", "parked_key_newer", "parked_key_suspect"},
    "claim_suspect": {"parked_key_suspect"},
    "begin_alone": {"delivery_id_key"},
    "doubt_keys": {"parked_key_pkey", "delivery_queue", "delivery_pkey", "delivery_of_event"},
    "read_queue": {"parked_key_pkey", "delivery_queue", "delivery_held", "event_pkey"},
    "settle_key": {"parked_key_pkey", "delivery_pkey", "delivery_of_event", "event_pkey"},
    "find_key": {"parked_key_pkey"},
    "settle_batch": {"cursor_log_pkey", "event_pkey", "delivery_held"},
    "next_scheduled": {"scheduled_event_due"},
    "append_due_events": {"scheduled_event_due", "event_key_pkey"},
    "cancel_scheduled_event": {"scheduled_event_pkey"},
    "count_unread": {"event_id", "cursor_log_pkey"},
}


@pytest.mark.slow
async def test_statements_keep_to_their_indexes(planner: tuple[Planner, Stage, Any]) -> None:
    plans, stage, events = planner
    statements = events.runtime.statements
    for state in ("not analysed", "analysed", "vacuumed"):
        if state != "not analysed":
            await stage.rows("ANALYZE" if state == "analysed" else "VACUUM")
        for name in (*HOT, "discard_waiting"):
            check_no_table_is_scanned(await plans.scans(statements[name]), f"{name}, {state}")
        for name, indexes in EXPECTED.items():
            scans = await plans.scans(statements[name])
            found = {scan.index for scan in scans if scan.table in BIG and scan.index}
            assert found <= indexes, f"{name}, {state}: {scans}"
            due = [scan for scan in scans if scan.index == "parked_key_due"]
            assert all("due_at" in scan.condition for scan in due), f"{name}, {state}: {due}"
        check_windows(await plans.scans(statements["claim_windows"]), state)
        check_keys(await plans.scans(statements["claim_keys"]), state)
        await check_workers(plans, statements, state)
        check_tail(await plans.scans(statements["read_tail"]), state)
        for name in ("redrive_deliveries", "discard_deliveries", "remove_tombstones"):
            scans = await plans.scans(statements[name])
            assert [scan for scan in scans if scan.table in BIG and scan.kind == "Seq Scan"] == [], f"{name}, {state}"
            for scan in scans:  # a tombstone's own mark is found, however many there are
                if scan.table == "processing_mark" and scan.kind != "Tid Scan":
                    assert re.search(r"\bhandler_id\b.*\bkey\b", scan.condition), f"{name}, {state}"


ERASURE = "'order', '7', '{tenant-1}', 0, 500, '{}', 'erased'"
IDS = "array_fill('00000000-0000-0000-0000-000000000000'::uuid, ARRAY[100])"
ID = "'00000000-0000-0000-0000-000000000000'"
SCHEDULED = "'order', '7', '{tenant-1}', 0, 500, '{}'"
CHANGED = {"event_pkey", "delivery_of_event", "delivery_pkey", "attempt_of_delivery"}
OF_TENANTS = {
    "read_places_by_tenant": ("'{tenant-1,tenant-2}', 90000, 2000", {"event_tenant"}),
    "read_publish_counts_of_tenants": ("'{tenant-1}', 0, 20000, now()", {"event_tenant"}),
    "survey_events": (ERASURE, {"event_aggregate", *CHANGED}),
    "erase_events": (ERASURE, {"event_aggregate", *CHANGED}),
    "survey_copies": (ERASURE, {"delivery_copy", *CHANGED}),
    "erase_copies": (ERASURE, {"delivery_copy", *CHANGED}),
    "survey_scheduled_events": (SCHEDULED, {"scheduled_event_aggregate"}),
    "erase_scheduled_events": (SCHEDULED, {"scheduled_event_aggregate", "scheduled_event_pkey"}),
    "read_schedule_of_tenants": ("10001, '{tenant-1,tenant-2}'", {"scheduled_event_tenant"}),
    "read_scheduled_of_tenants": ("now(), 7, 51, '{tenant-1,tenant-2}'", {"scheduled_event_tenant"}),
    "withdraw_scheduled_event": (f"{ID}, '{{tenant-1}}'", {"scheduled_event_pkey"}),
    "find_foreign_deliveries": (f"{IDS}, '{{tenant-1}}'", {"delivery_id_key"}),
    "find_tenants_of_deliveries": (IDS, {"delivery_id_key"}),
}
"""By name of a statement that is planned for the arguments it gets: some of those, and the indexes it keeps to."""


@pytest.mark.slow
async def test_what_is_a_tenants_or_an_aggregates_is_found_by_index(planner: tuple[Planner, Stage, Any]) -> None:
    plans, stage, events = planner
    await stage.rows(
        "UPDATE events.event SET tenant_id = 'tenant-' || position % 2000, aggregate = 'order', "
        "aggregate_id = (position % 500)::text"
    )
    await stage.rows(
        "UPDATE events.scheduled_event SET tenant_id = 'tenant-' || number % 2000, aggregate = 'order', "
        "aggregate_id = (number % 500)::text"
    )
    await stage.rows(
        "UPDATE events.delivery SET tenant_id = 'tenant-1', event = jsonb_build_object('aggregate', 'order', "
        "'aggregate_id', (position % 50)::text, 'payload', 1) WHERE state = 'dead'"
    )
    # Nothing of it is kept: of a table that is known to be small, all may be read.
    big = await stage.value("SELECT count(*) > 1000 FROM events.event")
    for state in ("not analysed", "analysed", "vacuumed") if big else ("not analysed",):
        if state != "not analysed":
            await stage.rows("ANALYZE" if state == "analysed" else "VACUUM")
        for name, (arguments, indexes) in OF_TENANTS.items():
            scans = await plans.scans(events.runtime.statements[name], arguments)
            looks = [scan for scan in scans if scan.table in BIG]
            assert {scan.index for scan in looks} <= indexes, f"{name}, {state}: {scans}"
            # A segment of the log without a row may be read whole, beside the one that has rows.
            asking = {scan.index for scan in looks if scan.condition}
            assert asking == {scan.index for scan in looks}, f"{name}, {state}: {scans}"


def check_no_table_is_scanned(scans: list[Scan], what: str) -> None:
    """Also not by way of an index of which every entry is read."""
    looks = [scan for scan in scans if scan.table in BIG and scan.kind != "Tid Scan"]
    found = [scan for scan in looks if scan.kind not in ("Index Scan", "Index Only Scan") or not scan.condition]
    assert found == [], what


def check_windows(scans: list[Scan], state: str) -> None:
    """Windows are opened by transaction id and read by position; the newest cursor is one index entry."""
    looks = {(scan.index, "xid" in scan.condition) for scan in scans if scan.table == "event"}
    assert looks == {("event_window", True), ("event_pkey", False)}, state
    assert all("position" in scan.condition for scan in scans if scan.index == "event_pkey"), f"{state}: {scans}"
    assert {scan.index for scan in scans if scan.table == "cursor_log"} == {"cursor_log_pkey"}, state
    keys = [scan for scan in scans if scan.table == "parked_key"]
    assert keys
    assert all("slot" in scan.condition for scan in keys), state


def check_keys(scans: list[Scan], state: str) -> None:
    """Neither keys that are due later nor those that only another release can read are walked."""
    looks = {scan.index: scan.condition for scan in scans if scan.table == "parked_key" and scan.index}
    assert set(looks) == {"parked_key_due", "parked_key_newer"}, state
    assert all("due_at <=" in condition and "due_at >=" in condition for condition in looks.values()), (
        f"{state}: {looks}"
    )
    assert "needs <= h.reads" in looks["parked_key_newer"], f"{state}: {looks}"


async def check_workers(plans: Planner, statements: Any, state: str) -> None:
    """Whether a holder has vanished is one look at its own row; processes of a day may have left theirs."""
    for name, indexes in OF_WORKERS.items():
        looks = [scan for scan in await plans.scans(statements[name]) if scan.table == "worker"]
        assert {scan.index for scan in looks} == indexes, f"{name}, {state}: {looks}"
        assert all(scan.condition for scan in looks), f"{name}, {state}: {looks}"


@pytest.mark.slow
async def test_progress_is_read_by_transaction_id(planner: tuple[Planner, Stage, Any]) -> None:
    """A page of the dashboard reads what is new of a partition, and not the partition."""
    plans, stage, events = planner
    for state in ("not analysed", "analysed", "vacuumed"):
        if state != "not analysed":
            await stage.rows("ANALYZE" if state == "analysed" else "VACUUM")
        scans = await plans.scans(events.runtime.statements["read_progress"], "NULL, 400")
        looks = {(scan.index, "xid" in scan.condition) for scan in scans if scan.table == "event"}
        assert looks == {("event_window", True), ("event_pkey", False)}, f"{state}: {scans}"
        places = [scan.condition for scan in scans if scan.index == "event_pkey"]
        assert all("position" in condition for condition in places), f"{state}: {scans}"
        keys = await plans.scans(events.runtime.statements["count_parked_keys"], "'app', 100")
        found = {(scan.index, "due_at" in scan.condition) for scan in keys if scan.table == "parked_key"}
        assert found == {("parked_key_due", True)}, f"{state}: {keys}"


def check_tail(scans: list[Scan], state: str) -> None:
    """What is new is read by position from a floor on, what is late by transaction id; no other table is read."""
    looks = {(scan.index, "xid" in scan.condition) for scan in scans if scan.table in BIG}
    assert looks == {("event_window", True), ("event_pkey", False)}, f"{state}: {scans}"
    assert all("position" in scan.condition for scan in scans if scan.table == "event"), f"{state}: {scans}"


async def test_who_follows_the_log_looks_once_into_each_partition_of_its_end(
    planner: tuple[Planner, Stage, Any],
) -> None:
    plans, stage, events = planner
    await stage.rows("UPDATE events.log_segment SET sealed_before = '3' WHERE lower = 0")
    nodes = await plans.nodes(events.runtime.statements["read_tail"], tail_arguments(16_777_216))
    looks = {
        node["Relation Name"]: node["Actual Loops"]
        for node in nodes
        if re.fullmatch(r"event_\d+_pkey", node.get("Index Name", ""))
    }
    assert looks == {"event_0": 0, "event_16777216": 128}


def tail_arguments(drawn: int) -> str:
    """What a process asks that looks everywhere, and has seen everything."""
    places = [lane * 1024 + partition for lane in range(4) for partition in range(32)]

    def filled(value: object) -> str:
        return f"array_fill({value}, ARRAY[{len(places)}])"

    where = ", ".join(filled(f"{number}::bigint") for number in (0, drawn, drawn))
    return (
        f"ARRAY{places}, {filled('pg_current_snapshot()::text')}, {filled('NULL::text')}, {where}, 4, 1000000, "
        "'{shop.order.placed}', '{}', '{}'"
    )


async def test_windows_are_not_looked_for_in_sealed_segments(planner: tuple[Planner, Stage, Any]) -> None:
    plans, stage, events = planner
    await stage.rows("UPDATE events.log_segment SET sealed_before = '3' WHERE lower = 0")
    await stage.rows(
        "INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen) "
        "SELECT 1, 1, p, 1000000, pg_current_snapshot() FROM generate_series(0, 31) p"
    )
    looks = [
        look
        for look in await plans.looks(events.runtime.statements["claim_windows"])
        if "pg_snapshot_xmax" in look.get("Index Cond", "")
    ]
    assert {look["Relation Name"]: look["Actual Loops"] for look in looks} == {"event_0": 0, "event_16777216": 32}
