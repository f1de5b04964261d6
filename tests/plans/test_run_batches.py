"""What is done about many runs at once costs each the same, however many they are: nothing compares all with all."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from fastapi_events.store.database import Database
from fastapi_events.store.runs import WAITING_AT_ONCE
from fastapi_events.store.statements import Statements
from tests.delivery.stage import Stage

WORKER = "'11111111-1111-1111-1111-111111111111'::uuid"
MOST_PER_RUN = 40
"""Rows that are looked at for one run, in all parts of a statement."""
FILL = f"""
    INSERT INTO events.run_queue (run_id, number, job_id, priority, state, token, worker_id, due_at, dedupe_key)
    SELECT md5(n::text)::uuid, n, 1, 0, 'x', n * 7, {WORKER}, now() + '1 h', CASE WHEN n % 2 = 0 THEN 'd' || n END
    FROM generate_series(1, $1::int) n
"""
KEYS = """
    INSERT INTO events.run_dedupe (job_id, key, run_id, until_started)
    SELECT job_id, dedupe_key, run_id, false FROM events.run_queue WHERE dedupe_key IS NOT NULL
"""
SPAWN = """
    UPDATE events.run_queue SET parent_id = md5((number % 50 + 1)::text)::uuid, on_parent_close = 'cancel'
    WHERE number > 50
"""


@pytest_asyncio.fixture
async def connection(stage: Stage) -> AsyncIterator[Any]:
    """A bookkeeping connection, to a database in which one worker has many runs in hand."""
    events = await stage.idle(notify="off")
    await events.stop()
    database = Database(stage.url)
    await database.open()
    async with database.acquire() as opened:
        yield opened
    await database.close()


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("complete_runs", 1000),
        ("complete_runs, related", 1000),
        ("settle_runs", 1000),
        ("settle_runs, related", 1000),
        ("settle_runs, waiting", WAITING_AT_ONCE),
        ("renew_runs", 1000),
        ("release_runs", 1000),
    ],
)
async def test_a_run_costs_the_same_among_many(
    stage: Stage, connection: Any, name: str, count: int, analysed: bool
) -> None:
    await stage.rows(FILL, 3000)
    await stage.rows(KEYS)
    statement, _, kind = name.partition(", ")
    if kind == "related":
        await stage.rows(SPAWN)
    if analysed:
        await stage.rows("ANALYZE events.run_queue, events.run_dedupe")
    tries = {size: await looked_at(stage, connection, statement, size, kind) for size in (count // 10, count)}
    for size, (rows, changed) in tries.items():
        assert changed == size
        most = MOST_PER_RUN * size + (size * size if kind == "waiting" else 0)
        assert rows <= most * (2 if kind == "related" else 1), f"{rows} rows for {size} runs"


async def looked_at(stage: Stage, connection: Any, name: str, size: int, kind: str) -> tuple[int, int]:
    """How many rows the statement looks at for so many runs, and how many it returns."""
    found = await stage.rows("SELECT run_id, token, parent_id FROM events.run_queue ORDER BY run_id LIMIT $1", size)
    ids, tokens = [row["run_id"] for row in found], [row["token"] for row in found]
    transaction = connection.transaction()
    await transaction.start()
    parents = {row["parent_id"] for row in found} - {None} if kind == "related" else ()
    locked = sorted({*ids, *parents}) if parents else []
    arguments = given(name, ids, tokens, locked, None if kind == "waiting" else "failed")
    await connection.execute(f"PREPARE hot AS {Statements()[f'jobs/{name}']}")
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE hot({', '.join(arguments)})")
    await connection.execute("DEALLOCATE hot")
    await transaction.rollback()
    nodes: list[dict[str, Any]] = [json.loads(plan)[0]["Plan"]]
    changed = round(nodes[0]["Actual Rows"])
    for node in nodes:
        nodes.extend(node.get("Plans", ()))
    return round(sum(map(rows_of, nodes))), changed


def rows_of(node: dict[str, Any]) -> float:
    """What a node has made and thrown away."""
    counts = (node.get(key, 0) for key in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Join Filter"))
    return float(sum(counts)) * float(node.get("Actual Loops", 0))


def given(name: str, ids: list[UUID], tokens: list[int], locked: list[UUID], state: str | None) -> list[str]:
    """The arguments of a statement, as SQL."""
    runs = [f"'{{{','.join(map(str, ids))}}}'", f"'{{{','.join(map(str, tokens))}}}'"]
    kin = f"'{{{','.join(map(str, locked))}}}'"

    def each(value: object, kind: str) -> str:
        text = "NULL" if value is None else f"'{value}'"
        return f"array_fill({text}::{kind}, ARRAY[{len(ids)}])"

    if name == "renew_runs":
        return [WORKER, "60", *runs]
    if name == "release_runs":
        return [WORKER, *runs]
    jobs = [each(1, "integer"), each(0, "integer")]
    if name == "complete_runs":
        return [WORKER, *runs, each("null", "text"), each(1, "float8"), each(1, "float8"), *jobs, kin]
    record = {"number": 1, "outcome": "retry", "duration": 1}
    records = json.dumps([{"run_id": str(run_id)} | record for run_id in ids])
    texts = [each(state, "text"), *[each(None, "text")] * 6]
    numbers = [each(1, "integer"), each(9, "float8"), each(False, "boolean"), each(1, "float8"), each(1, "float8")]
    flags = [each(None, "bigint"), each(False, "boolean"), each(False, "boolean")]
    return [WORKER, *runs, *texts, *numbers, f"'{records}'", *flags, *jobs, kin, flags[-1]]
