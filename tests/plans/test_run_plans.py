"""What people ask of jobs and runs reads what it shows, however much there is: by index, and few rows of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from hashlib import md5
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from fastapi_events.store.database import Database
from fastapi_events.store.readings import _STEERING
from fastapi_events.store.statements import Statements
from tests.conftest import run_once, url_of
from tests.delivery.stage import Stage
from tests.plans.filling import Filled

PENDING, ENDED = 60_000, 120_000
TABLES = (
    "run",
    "run_queue",
    "run_end",
    "run_step",
    "run_attempt",
    "run_edit",
    "run_progress",
    "run_signal",
    "run_log",
    "run_log_cut",
)
FILL = (
    "INSERT INTO events.job (group_id, name, pool) SELECT 1, 'shop.job_' || n, 'batch' FROM generate_series(1, 4) n",
    """
    INSERT INTO events.run (id, number, job_id, correlation_id, tenant_id, scope, scope_id, root_id, parent_id, input,
                            created_at, event_id, trigger_id, schedule_id, scheduled_for)
    SELECT md5(n::text)::uuid, n, 1 + n / 7 % 4, gen_random_uuid(), 'tenant-' || n % 2000, 'account', (n % 5000)::text,
           CASE WHEN n > 100 THEN md5((n % 100)::text)::uuid END, CASE WHEN n > 100 THEN md5((n % 100)::text)::uuid END,
           '{}', now() - ($1::int + $2::int - n) * interval '1 s',
           CASE WHEN n % 10 = 0 THEN md5((n / 100)::text)::uuid END, CASE WHEN n % 10 = 0 THEN n END,
           CASE WHEN n % 10 = 1 THEN 1 + n / 10 % 2 END, CASE WHEN n % 10 = 1 THEN now() - n * interval '1 s' END
    FROM generate_series(1, $1::int + $2::int) n
    """,
    """
    INSERT INTO events.run_queue (run_id, number, job_id, priority, state, due_at, worker_id)
    SELECT r.id, r.number, r.job_id, 0, s.state::"char", CASE WHEN s.state <> 'r' THEN now() + '1 h' END,
           gen_random_uuid()
    FROM events.run r CROSS JOIN LATERAL (
        SELECT CASE WHEN r.number % 1000 < 5 THEN 'x' WHEN r.number % 3 = 0 THEN 't' ELSE 'r' END AS state) s
    WHERE r.number <= $1::int AND $2::int >= 0
    """,
    """
    INSERT INTO events.run_end (run_id, job_id, state, attempts, finished_at)
    SELECT r.id, r.job_id, (ARRAY['completed', 'completed', 'failed'])[1 + r.number % 3], 1,
           now() - r.number * interval '1 s'
    FROM events.run r WHERE r.number > $1::int AND $2::int >= 0
    """,
    """
    INSERT INTO events.run_step (run_id, name, number, kind, state)
    SELECT md5((n / 10)::text)::uuid, 's' || n, n % 10, 'step', 'done'
    FROM generate_series(1, $1::int) n WHERE $2::int >= 0
    """,
    """
    INSERT INTO events.run_attempt (run_id, number, outcome, worker_id)
    SELECT md5((n / 10)::text)::uuid, n % 10, 'retry', gen_random_uuid()
    FROM generate_series(1, $1::int) n WHERE $2::int >= 0
    """,
    """
    INSERT INTO events.run_edit (action_id, run_id, input)
    SELECT gen_random_uuid(), md5(n::text)::uuid, '{}' FROM generate_series(1, $1::int) n WHERE $2::int >= 0
    """,
    """
    INSERT INTO events.run_log (run_id, said_at, attempt, level, message)
    SELECT md5((n / 1000)::text)::uuid, now(), 1, 10 * (1 + n % 3), 'said'
    FROM generate_series(1, $1::int) n WHERE $2::int >= 0
    """,
    """
    INSERT INTO events.run_signal (run_id, name, payload)
    SELECT md5((n / 10)::text)::uuid, 'paid', '{}' FROM generate_series(1, $1::int) n WHERE $2::int >= 0
    """,
    """
    INSERT INTO events.run_log_cut (run_id, lines)
    SELECT md5(n::text)::uuid, 1 FROM generate_series(1, $1::int) n WHERE $2::int >= 0
    """,
    """
    INSERT INTO events.run_progress (run_id, done)
    SELECT md5(n::text)::uuid, 1 FROM generate_series(1, $1::int) n WHERE $2::int >= 0
    """,
)
ALL = "'{1,2,3,4}'"
RUN = "'c4ca4238-a0b9-2382-0dcc-509a6f75849b'"
RUNS = f"ARRAY[{RUN}::uuid]"
HUNDRED = f"'{{{','.join(md5(str(number).encode()).hexdigest() for number in range(30_000, 130_000, 1_000))}}}'"
BY_ID = {"run_pkey", "run_queue_pkey", "run_end_pkey", "run_progress_pkey"}
READINGS = {
    "read_job_counts": (
        f"{ALL}, 1000, 86400, '{{t,w}}', 3600",
        {"run_queue_of_job", "run_queue_ready", "run_end_of_job", "run_end_dead", *BY_ID}, 4 * 5_100,
    ),
    "read_running_runs": (f"{ALL}, 50", {"run_queue_of_job", "run_pkey"}, 440),
    "list_started_runs": (f"{ALL}, 100000, 51", {"run_of_job"}, 220),
    "list_waiting_runs": (f"{ALL}, 40000, 51, '{{r,t}}'", {"run_queue_of_job", "run_queue_ready"}, 440),
    "list_ended_runs": (f"{ALL}, now() - interval '100000 s', 51, 'failed', {RUN}", {"run_end_of_job"}, 220),
    "list_runs_of_scope": ("'account', '42', 100000, 51", {"run_scope"}, 60),
    "list_own_runs_of_scope": (f"'account', '42', {ALL}, NULL, 100000, 51", {"run_scope"}, 60),
    "list_runs_of_parent": (f"{RUN}, 100000, 51", {"run_parent"}, 60),
    "list_runs_of_root": (f"{RUN}, 100000, 51", {"run_root", "run_pkey"}, 60),
    "list_runs_of_tenants": ("'{tenant-1,tenant-2}', 100000, 51", {"run_tenant"}, 120),
    "list_runs_of_event": ("md5('700')::uuid, NULL, 51", {"run_event", "run_pkey"}, 30),
    "list_runs_of_schedule": (f"'{{1,2}}', now() - interval '50000 s', 51, {RUN}", {"run_tick"}, 110),
    "list_dead_runs": (f"{ALL}, now() - interval '100000 s', 51, {RUN}", {"run_end_dead"}, 220),
    "count_dead_runs": ("NULL, 1000, NULL", {"run_end_dead"}, 4_010),
    "read_dead_run_groups": (f"{ALL}, 1000, 100, NULL", {"run_end_dead"}, 4_010),
    "read_late_runs": (f"{ALL}, 60, 1000", {"run_queue_due"}, 1_010),
    "read_last_run": (ALL, {"run_of_job"}, 10),
    "read_first_run_from": (f"{ALL}, 70000", {"run_of_job"}, 10),
    "read_run_signals": (f"{RUN}, 50", {"run_signal_of_run"}, 30),
    "read_run_summaries": (f"{RUNS}", BY_ID, 10),
    "read_run_content": (RUN, BY_ID, 10),
    "read_run_steps": (f"{RUN}, 500", {"run_step_pkey"}, 30),
    "read_run_attempts": (f"{RUN}, 50", {"run_attempt_of_run"}, 30),
    "read_run_edits": (f"{RUN}, 50", {"run_edit_of_run"}, 10),
    "read_lines_after": (f"{RUN}, 5, 20, 201", {"run_log_pkey"}, 1_210),
    "read_lines_before": (f"{RUN}, NULL, 20, 201", {"run_log_pkey"}, 1_210),
    "read_lines_cut": (RUN, {"run_log_cut_pkey"}, 1),
}  # fmt: skip
"""By name: its arguments, the indexes by which it looks, and how many rows it looks at, at most."""
ACTIONS = {
    "find_missing_runs": (f"{RUNS}, 1, '{{tenant-1}}'", {"run_pkey"}, 10),
    "find_tenants_of_runs": (RUNS, {"run_pkey"}, 10),
    "find_ended_runs": (f"{ALL}, '{{failed,timed_out}}', now(), 100, NULL", {"run_end_of_job", "run_pkey"}, 850),
    "redrive_runs": (RUNS, {*BY_ID, "run_parent", "run_queue_parent", "run_step_pkey", "run_wait_pkey"}, 60),
    "lock_ends": (f"{RUNS}, true", BY_ID, 10),
    "forget_steps": (f"{RUNS}, 'last_checkpoint'", {"run_step_pkey", "run_progress_pkey"}, 60),
    "discard_runs": (f"{RUNS}, 'x'", {"run_end_pkey"}, 20),
    "read_given": (RUN, {"run_pkey"}, 10),
    "edit_run": (f"{RUN}, '{{}}', gen_random_uuid(), 'account', '7', '{{}}'", {"run_pkey"}, 20),
    "end_window": (f"{RUN}, 'a'", {"run_pkey", "run_dedupe_pkey"}, 10),
    "cancel_runs": (f"{RUNS}, 'x'", {"run_pkey", "run_queue_pkey", "run_queue_parent"}, 20),
    "lock_families": ("'{c4ca4238-a0b9-2382-0dcc-509a6f75849b}'", {"run_queue_pkey", "run_queue_parent"}, 10),
    "reschedule_runs": (f"{RUNS}, 5, NULL", {"run_queue_pkey"}, 20),
    "find_open_runs_of_scope": (
        "'account', '42', '{1,2,3,4}', NULL, 0, 100",
        {"run_scope", "run_queue_pkey"},
        250,
    ),
    "count_lines": (f"{RUNS}, 1000", {"run_log_pkey"}, 1_010),
    "keep_lines": (f"gen_random_uuid(), {RUNS}, '{{1}}', '{{1}}', '[]'", {"run_queue_pkey"}, 20),
}
WIDE_READING = ("read_run_summaries", HUNDRED)


@pytest_asyncio.fixture(params=[0, 1])
async def runs(request: pytest.FixtureRequest, server_url: str, filled: Filled) -> AsyncIterator[Stage]:
    """A database without a run, and one with many."""
    name = f"events_runs_{os.getpid()}"
    await run_once(server_url, f"CREATE DATABASE {name} TEMPLATE {await filled(0)}")
    stage = Stage(url_of(server_url, name))
    for table in TABLES:
        await stage.rows(f"ALTER TABLE events.{table} SET (autovacuum_enabled = false)")
    for statement in FILL:
        given = (PENDING * request.param, ENDED * request.param) if "$1" in statement else ()
        await stage.rows(statement, *given)
    yield stage
    await stage.close()
    await run_once(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.slow
async def test_readings_look_at_what_they_show(runs: Stage) -> None:
    connection: Any = await asyncpg.connect(runs.url)
    async for state in states(runs):
        for name, (arguments, indexes, most) in READINGS.items():
            await check(connection, name, arguments, indexes, most, _STEERING, state)
        await check(connection, *WIDE_READING, BY_ID, 500, _STEERING, state)
    await connection.close()


@pytest.mark.slow
async def test_actions_look_at_what_they_change(runs: Stage) -> None:
    database = Database(runs.url)
    await database.open()
    async with database.acquire() as connection:
        async for state in states(runs):
            for name, (arguments, indexes, most) in ACTIONS.items():
                await check(connection, name, arguments, indexes, most, "SELECT 1", state)
    await database.close()


async def states(runs: Stage) -> AsyncIterator[str]:
    """What is known of the tables. Of one that is known to be empty, all may be read."""
    yield "not analysed"
    if await runs.value("SELECT count(*) FROM events.run"):
        for statement in ("ANALYZE", "VACUUM"):
            await runs.rows(statement)
            yield statement


async def check(
    connection: Any, name: str, arguments: str, indexes: set[str], most: int, steering: str, state: str
) -> None:
    """Carry it out, and undo it."""
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(steering)
    await connection.execute(f"PREPARE asked AS {Statements()[f'jobs/{name}']}")
    try:
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) EXECUTE asked({arguments})")
    finally:
        await transaction.rollback()
        await connection.execute("DEALLOCATE asked")
    nodes = [json.loads(plan)[0]["Plan"]]
    for node in nodes:
        nodes.extend(node.get("Plans", ()))
    looks = [node for node in nodes if is_look(node)]
    assert {node.get("Index Name") for node in looks} <= indexes, f"{name}, {state}: {looks}"
    assert all(node.get("Index Cond") for node in looks), f"{name}, {state}: {looks}"
    seen = sum((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"] for node in looks)
    counts = [(node["Node Type"], node["Index Name"], node["Index Cond"], node["Actual Rows"]) for node in looks]
    assert seen <= most, f"{name}, {state}: {seen} rows, {counts}"


def is_look(node: dict[str, Any]) -> bool:
    """At a table of runs; of a bitmap it is the part that looks into the index."""
    if node["Node Type"] == "Bitmap Index Scan":
        return True
    return node.get("Relation Name") in TABLES and "Scan" in node["Node Type"] and "Bitmap" not in node["Node Type"]


async def test_the_plans_are_of_every_reading_and_action() -> None:
    """A new statement of theirs is one to look at."""
    asked = {*READINGS, *ACTIONS, "read_jobs", "read_pool_workers", "read_set_pools", "pause_job", "wait_briefly"}
    sources = [
        "store/run_actions",
        "store/redrives",
        "api/observe/job_readings",
        "api/observe/run_walks",
        "api/observe/run_search",
        "api/observe/job_concerns",
        "api/observe/job_schedules",
    ]
    from importlib.resources import files

    text = "".join((files("fastapi_events") / f"{name}.py").read_text() for name in sources)
    used = set(re.findall(r'"jobs/(\w+)"', text)) | set(re.findall(r'_by_(?:number|moment)\("(\w+)"', text))
    assert used - {"list_jobs"} <= asked
