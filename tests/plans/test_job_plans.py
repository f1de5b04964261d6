"""What jobs ask, keeps to its indexes, however many runs wait at gates: on tables that are empty, unknown and large."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from fastapi_events import Concurrency, JobContext, Module
from fastapi_events.store.database import Database
from fastapi_events.store.statements import Statements
from tests.delivery.stage import Stage
from tests.plans.test_plans import Planner, parents_of_indexes

TABLES = (
    "run_queue", "run", "run_end", "run_dedupe", "run_limit", "run_turn", "run_replaced", "run_step", "run_wait",
    "run_signal", "run_progress", "run_attempt", "event", "schedule", "worker", "scheduled_event",
)  # fmt: skip
EXPECTED = {
    "admit_runs": {
        "run_queue_gated", "run_queue_holding", "run_queue_pkey", "run_limit_pkey", "run_turn_due",
    },
    "claim_runs": {"run_queue_ready", "run_queue_pkey", "run_pkey", "run_dedupe_pkey", "run_replaced_pkey"},
    "complete_runs": {"run_pkey", "run_queue_pkey", "run_queue_parent", "run_dedupe_pkey"},
    "settle_runs": {"run_pkey", "run_queue_pkey", "run_queue_parent", "run_dedupe_pkey"},
    "lock_families": {"run_queue_pkey", "run_queue_parent"},
    "complete_own_run": {"run_pkey", "run_queue_pkey", "run_queue_parent", "run_dedupe_pkey"},
    "lock_canceled_runs": {"run_queue_canceled", "run_queue_pkey", "run_replaced_pkey"},
    "lock_relatives": {"run_queue_pkey", "run_queue_parent"},
    "find_idle_canceled_runs": {"run_queue_pkey", "run_replaced_pkey"},
    "end_canceled_runs": {"run_pkey", "run_queue_pkey", "run_queue_parent", "run_dedupe_pkey", "run_replaced_pkey"},
    "renew_runs": {"run_queue_pkey", "run_replaced_pkey"},
    "release_runs": {"run_queue_pkey"},
    "promote_runs": {"run_queue_due", "worker_pkey", "run_step_pkey"},
    "find_canceled_runs": {"run_queue_pkey", "run_replaced_pkey"},
    "begin_run_alone": {"run_queue_pkey"},
    "cancel_runs": {"run_pkey", "run_queue_pkey", "run_queue_parent", "run_dedupe_pkey"},
    "call_gates": {"run_queue_gated", "run_queue_holding", "run_limit_pkey", "run_turn_due"},
    "prune_limits": {"run_limit_pkey", "run_queue_gated", "run_queue_holding", "run_queue_exclusive"},
    "prune_dedupe_keys": {"run_dedupe_pkey", "run_dedupe_over", "run_queue_pkey", "run_replaced_pkey"},
    "take_dedupe_keys": {"run_dedupe_pkey"},
    "read_dedupe_keys": {"run_dedupe_pkey"},
    "free_dedupe_keys": {"run_dedupe_pkey"},
    "find_rivals": {"run_queue_exclusive", "run_replaced_pkey"},
    "find_started_runs": {"run_pkey"},
    "find_line": {"run_pkey"},
    "find_holders_above": {"run_pkey", "run_queue_pkey", "run_queue_holding"},
    "replace_runs": {"run_pkey", "run_queue_pkey", "run_dedupe_pkey"},
    "find_work": {
        "run_queue_due", "scheduled_event_due", "schedule_pkey", "worker_pkey", "run_queue_canceled", "run_queue_gated",
        "run_queue_ready", "run_turn_due", "run_wait_pkey", "run_step_pkey", "run_queue_pkey", "event_window",
        "run_replaced_pkey",
    },
    "next_due_run": {"run_queue_due", "schedule_pkey", "worker_pkey"},
    "match_waits": {"run_wait_pkey", "run_step_pkey", "run_queue_pkey", "event_window"},
    "await_event": {"run_step_pkey"},
    "take_signal": {"run_signal_pkey", "run_signal_of_run"},
    "send_signal": {"run_queue_pkey"},
    "lock_own_run": {"run_queue_pkey"},
    "lock_run": {"run_pkey", "run_queue_pkey", "run_end_pkey"},
    "record_step": {"run_queue_pkey"},
    "note_progress": {"run_queue_pkey"},
    "spawn_step": {"run_queue_pkey"},
    "read_steps": {"run_step_pkey"},
    "read_children": {"run_pkey", "run_queue_pkey", "run_end_pkey"},
    "read_runs": {"run_pkey", "run_queue_pkey", "run_end_pkey", "run_attempt_of_run"},
    "find_same_ancestor": {"run_pkey"},
}  # fmt: skip
WALKED = {
    "run_queue_gated", "run_replaced_pkey", "run_queue_canceled", "run_queue_due", "run_wait_pkey",
    "scheduled_event_due",
}  # fmt: skip
"""Which some statements begin to walk, for a bounded number of rows: all that is in these indexes is theirs."""
FILL = (
    """
    INSERT INTO events.run_queue (run_id, number, job_id, priority, state, limit_key, gate, holds, exclusive,
                                  dedupe_key)
    SELECT gen_random_uuid(), n, 1, 0, CASE WHEN n % 1000 = 0 THEN 'r' ELSE 'g' END::"char", key,
           CASE WHEN n % 1000 <> 0 THEN 'c' || key END, n % 1000 = 0, n % 3 = 0, CASE WHEN n % 5 = 0 THEN 'd' || n END
    FROM generate_series(1, $1::int) n
    CROSS JOIN LATERAL (SELECT CASE WHEN n % 2 = 0 THEN 'busy' ELSE 'k' || n % 500 END) k(key)
    """,
    """
    INSERT INTO events.run (id, number, job_id, correlation_id, input)
    SELECT run_id, number, job_id, run_id, 'null' FROM events.run_queue
    """,
    """
    INSERT INTO events.run_dedupe (job_id, key, run_id, until_started)
    SELECT job_id, dedupe_key, run_id, false FROM events.run_queue WHERE dedupe_key IS NOT NULL
    """,
    """
    INSERT INTO events.run_limit (job_id, gate)
    SELECT DISTINCT job_id, gate FROM events.run_queue WHERE gate IS NOT NULL
    """,
    """
    INSERT INTO events.run_turn (job_id, gate)
    SELECT DISTINCT job_id, gate FROM events.run_queue WHERE gate IS NOT NULL
    """,
    """
    INSERT INTO events.run_turn (job_id, gate, due_at)
    SELECT 1, 'cbusy', 'infinity' FROM generate_series(1, $1::int / 10)
    """,
    """
    INSERT INTO events.run_step (run_id, name, number, kind, state)
    SELECT run_id, 's' || n, n, 'event', CASE WHEN n = 3 THEN 'waiting' ELSE 'done' END
    FROM events.run_queue CROSS JOIN generate_series(1, 3) n WHERE number % 5 = 0
    """,
    """
    INSERT INTO events.run_wait (run_id, name, event_name, places, since)
    SELECT run_id, 's3', 'shop.page.pinged', '{1024}', pg_current_snapshot() FROM events.run_queue WHERE number % 50 = 0
    """,
    """
    INSERT INTO events.run_signal (run_id, name, payload) SELECT run_id, 's', '1' FROM events.run_queue
    """,
)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, pytest.param(200_000, marks=pytest.mark.long)])
async def test_limits_keep_to_their_indexes(stage: Stage, size: int) -> None:
    await fill(stage, size)
    database, statements = Database(stage.url), Statements()
    await database.open()
    async with database.acquire() as connection:
        plans = Planner(connection, await parents_of_indexes(stage))
        for state in ("not analysed", "analysed", "vacuumed"):
            if state != "not analysed":
                await stage.rows("ANALYZE" if state == "analysed" else "VACUUM")
            for name, indexes in EXPECTED.items():
                scans = await plans.scans(statements[f"jobs/{name}"])
                looks = [scan for scan in scans if scan.table in TABLES and scan.kind != "Tid Scan"]
                what = f"{name}, {state}: {looks}"
                assert {scan.index for scan in looks} <= indexes, what
                assert all(scan.kind in ("Index Scan", "Index Only Scan") for scan in looks), what
                assert all(scan.condition for scan in looks if scan.index not in WALKED), what
                if name != "find_work":
                    check_gates([scan.condition for scan in looks if scan.index == "run_queue_gated"], name, what)
    await database.close()


def check_gates(conditions: list[str], name: str, what: str) -> None:
    """A gate is looked at by its key, not found among all that wait."""
    for condition in conditions:
        assert re.search(r"\bjob_id\b.*\bgate\b", condition), f"{name}, {what}"


@pytest.mark.slow
@pytest.mark.long
async def test_a_backlog_costs_nothing_until_it_is_its_turn(stage: Stage) -> None:
    await fill(stage, 200_000)
    await stage.rows("ANALYZE")
    database, statements = Database(stage.url), Statements()
    await database.open()
    async with database.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        statement = statements["jobs/admit_runs"]
        await connection.execute(f"PREPARE hot AS {statement}")
        plan = await connection.fetchval(
            "EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot('{1}', '{1}', '{NULL}', '{NULL}', 500, 10)"
        )
        nodes: list[dict[str, Any]] = [json.loads(plan)[0]["Plan"]]
        for node in nodes:
            nodes.extend(node.get("Plans", ()))
        read = sum(
            node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0) * node["Actual Loops"]
            for node in nodes
            if node.get("Index Name", "").startswith("run_queue_")
        )
        gates = await stage.value("SELECT count(DISTINCT gate) FROM events.run_queue WHERE state = 'g'")
        assert 0 < read <= 4 * gates  # at each of them one look at who is at work, and at the first in line
        await transaction.rollback()
    await database.close()


@pytest_asyncio.fixture(autouse=True)
async def as_found(stage: Stage) -> AsyncIterator[None]:
    """The database is used again, by tests that vacuum, and look at how."""
    yield
    for table in set(TABLES) - {"event"}:
        await stage.rows(f"ALTER TABLE events.{table} RESET (autovacuum_enabled)")


async def fill(stage: Stage, size: int) -> None:
    """So many runs, nearly all of them at a gate; half of them at the same one, which is closed."""
    module = Module("shop")

    @module.job("shop.restock", concurrency=Concurrency())
    async def restock(job: JobContext[None]) -> None: ...

    events = await stage.idle(module, notify="off")
    await events.stop()
    for table in set(TABLES) - {"event"}:
        await stage.rows(f"ALTER TABLE events.{table} SET (autovacuum_enabled = false)")
    for statement in FILL if size else ():
        await stage.rows(statement, *([size] if "$1" in statement else []))
