"""``jobs``: runs looked at, cancelled, retried, replayed; jobs paused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import BaseModel, SecretStr

from fastapi_events import Events, EventsSettings, JobContext, Module, Retry
from tests.cli.conftest import Run, on_terminal

APP = "stock:events"
FILE = """from fastapi_events import Events, JobContext, Module, Retry
from pydantic import BaseModel, SecretStr


class Restock(BaseModel):
    sku: str
    card: SecretStr = SecretStr("4111-1111")


stock = Module("stock")
events = Events(modules=[stock])


@stock.job(retry=Retry(1), scope=lambda given: ("sku", given.sku))
async def restock(job: JobContext[Restock]) -> None: ...


@stock.job(pool="slow")
async def count(job: JobContext[None]) -> None: ...
"""
HOSTILE = "\x1b[2Jevil"


class Restock(BaseModel):
    """As the project's file has it."""

    sku: str
    card: SecretStr = SecretStr("4111-1111")


class Seeded:
    """Runs of a project, one that has failed after a step, one that has succeeded, one that waits."""

    bad: str
    good: str
    later: str
    given: dict[str, str]


async def look() -> int:
    return 7


@pytest_asyncio.fixture
async def seeded(project: Path, clean_database: str, connection: Any) -> AsyncIterator[Seeded]:
    (project / "stock.py").write_text(FILE)
    stock, found = Module("stock"), Seeded()

    @stock.job(retry=Retry(1), scope=lambda given: ("sku", given.sku))
    async def restock(job: JobContext[Restock]) -> None:
        await job.step("look", look)
        job.log.info("looking for %s", job.input.sku, extra={"left": 7})
        if job.input.sku == "bad":
            job.log.error("nobody has it %s", HOSTILE)
            raise ValueError(f"no supplier {HOSTILE} takes {job.input.card.get_secret_value()}")

    @stock.job(pool="slow")
    async def count(job: JobContext[None]) -> None: ...

    events = Events(modules=[stock], settings=EventsSettings(database_url=clean_database, notify="off"))
    await events.start(drains=False)
    bad, good = await events.jobs.start_many(restock, [Restock(sku="bad"), Restock(sku="good")], tags=["x"])
    await events.drain_once()
    later = await events.jobs.start(count, None, delay=3600)
    found.bad, found.good, found.later = str(bad.run), str(good.run), str(later.run)
    found.given = {"EVENTS_DATABASE_URL": clean_database, "EVENTS_APP": APP}
    yield found
    await events.stop()


async def test_runs_are_listed_by_a_filter_and_by_options(run: Run, seeded: Seeded) -> None:
    whole = await run("jobs", "list", **seeded.given)
    assert whole.status == 0, whole.errors
    lines = [line.split() for line in whole.output.splitlines()]
    assert lines[0][:5] == ["RUN", "JOB", "STATE", "TRIES", "AGE"]
    assert [line[:3] for line in lines[1:]] == [
        [seeded.later, "stock.count", "pending"], [seeded.good, "stock.restock", "completed"],
        [seeded.bad, "stock.restock", "failed"],
    ]  # fmt: skip
    assert "due in " in whole.output
    for arguments in (
        ["state:failed"], ["--state", "failed"], ["--job", "stock.restock", "--scope", "sku/bad"],
        ["tag:x", "--state", "failed"], ["job:stock.restock", "--state", "failed", "--pool", "batch"],
    ):  # fmt: skip
        listed = json.loads((await run("jobs", "list", *arguments, "--json", **seeded.given)).output)
        assert [one["id"] for one in listed["runs"]] == [seeded.bad], arguments
    assert (await run("jobs", "list", "--tenant", "acme", **seeded.given)).output == "No run matches.\n"


async def test_a_list_goes_on_where_it_ended(run: Run, seeded: Seeded) -> None:
    first = await run("jobs", "list", "--limit", "2", **seeded.given)
    cursor = first.output.split("--cursor ")[1].strip()
    second = await run("jobs", "list", "--limit", "2", "--cursor", cursor, **seeded.given)
    assert [line.split()[0] for line in second.output.splitlines()] == ["RUN", seeded.bad]


async def test_wrong_filters_end_with_the_mend(run: Run, seeded: Seeded) -> None:
    for arguments, says in (
        (["--job", "stock.restok"], "Did you mean job:stock.restock?"), (["--state", "gone"], "It is one of pending"),
        (["--tag", "x"], "tag: alone would read every run"),
        (["state:failed", "--cursor", "7"], "Go back to its first"), (["handler:x"], "is no key of this filter"),
    ):  # fmt: skip
        done = await run("jobs", "list", *arguments, **seeded.given)
        assert (done.status, says in done.errors) == (2, True), (arguments, done.errors)


async def test_what_a_run_has_said(run: Run, seeded: Seeded) -> None:
    shown = await run("jobs", "logs", seeded.bad, **seeded.given)
    assert shown.status == 0, shown.errors
    first, second = shown.output.splitlines()
    assert first.endswith("INFO     [1] looking for bad")
    assert second.endswith("ERROR    [1] nobody has it \\x1b[2Jevil")
    only = await run("jobs", "logs", seeded.bad, "--level", "error", "--limit", "1", "--follow", **seeded.given)
    assert only.output.splitlines() == [second]
    with_fields = await run("jobs", "logs", seeded.good, "--show-payload", **seeded.given)
    assert with_fields.output.endswith("looking for good left=7\n")
    page = json.loads((await run("jobs", "logs", seeded.bad, "--json", **seeded.given)).output)
    assert [(line["level"], line["fields"]) for line in page["lines"]] == [("info", None), ("error", None)]
    followed = (await run("jobs", "logs", seeded.bad, "--json", "--follow", **seeded.given)).output
    assert [json.loads(line)["number"] for line in followed.splitlines()] == [line["number"] for line in page["lines"]]
    assert "has said nothing yet" in (await run("jobs", "logs", seeded.later, **seeded.given)).errors
    unknown = await run("jobs", "logs", seeded.bad[:-4] + "0000", **seeded.given)
    assert (unknown.status, "has no run" in unknown.errors) == (1, True)
    wrong = await run("jobs", "logs", seeded.bad, "--level", "warn", **seeded.given)
    assert (wrong.status, "Did you mean 'warning'?" in wrong.errors) == (2, True)


async def test_a_run_is_followed_to_its_end(run: Run, seeded: Seeded) -> None:
    following = asyncio.create_task(run("jobs", "logs", seeded.later, "--follow", **seeded.given))
    done = await run("jobs", "cancel", seeded.later, "--yes", **seeded.given)
    assert done.status == 0, done.errors
    ended = await asyncio.wait_for(following, 30)
    assert (ended.status, ended.output) == (0, "")


async def test_jobs_and_pools(run: Run, seeded: Seeded) -> None:
    listed = await run("jobs", "kinds", **seeded.given)
    rows = {line.split()[0]: line.split() for line in listed.output.splitlines()}
    assert rows["stock.restock"][1:8] == ["missing", "0", "0", "0", "0", "1", "batch"]
    assert rows["stock.count"][1:8] == ["missing", "0", "0", "1", "0", "0", "slow"]
    assert rows["stock.restock"][-1].startswith("stock.py:")
    kinds = json.loads((await run("jobs", "kinds", "--json", **seeded.given)).output)
    assert [(kind["name"], kind["failed"], kind["where"] is None) for kind in kinds] == [
        ("stock.count", 0, False), ("stock.restock", 1, False),
    ]  # fmt: skip
    pools = await run("jobs", "pools", **seeded.given)
    assert [line.split() for line in pools.output.splitlines()][1:] == [
        ["batch", "0", "0", "-", "0", "0", "stock.restock"], ["slow", "0", "0", "-", "0", "0", "stock.count"],
    ]  # fmt: skip


async def test_a_pool_is_set_and_reset(run: Run, seeded: Seeded) -> None:
    done = await run("pools", "set", "slow", "7", "--reason", "a long queue", **seeded.given)
    assert (done.status, done.output) == (0, "slow of the group app: 7 at once in each process.\n"), done.errors
    again = await run("pools", "set", "slow", "7", "--json", **seeded.given)
    assert json.loads(again.output) == {"act": "set", "pool": "slow", "concurrency": 7, "changed": False}
    listed = await run("pools", "list", **seeded.given)
    assert listed.output.splitlines()[-1].split() == ["slow", "0", "0", "7", "0", "0", "stock.count"]
    [_, slow] = json.loads((await run("pools", "list", "--json", **seeded.given)).output)
    assert (slow["set_to"], slow["reserved"]) == (7, False)
    done = await run("pools", "reset", "slow", **seeded.given)
    assert done.output == "slow of the group app: as the settings say.\n"
    done = await run("pools", "reset", "slow", **seeded.given)
    assert done.output.endswith("nothing was changed, it was as the settings say.\n")
    wrong = await run("pools", "set", "slwo", "7", **seeded.given)
    assert (wrong.status, "Did you mean 'slow'?" in wrong.errors) == (1, True)
    assert (await run("pools", "set", "slow", "0", **seeded.given)).status == 2


async def test_one_run_as_one_wants_it_at_three_in_the_morning(run: Run, seeded: Seeded) -> None:
    shown = (await run("jobs", "show", seeded.bad, **seeded.given)).output
    for part in (
        "state        failed", "error        ValueError: no supplier \\x1b[2Jevil takes ••••••", "scope        sku/bad",
        "tags         x", "\nSteps\n", "look  done", "\nAttempts\n", "Traceback of the last attempt",
        "not shown; --show-payload", f"fastapi-events jobs retry {seeded.bad}",
    ):  # fmt: skip
        assert part in shown, (part, shown)
    waiting = (await run("jobs", "show", seeded.later, **seeded.given)).output
    assert "why          it is put off until 2" in waiting
    assert "no live process runs stock.count (pool slow)" in waiting
    seen = (await run("jobs", "show", seeded.bad, "--show-payload", **seeded.given)).output
    assert '"sku": "bad"' in seen
    assert "1 secret hidden" in seen
    assert "Result of look\n7" in seen
    as_json = await run("jobs", "show", seeded.bad, "--show-payload", "--json", **seeded.given)
    answer = json.loads(as_json.output)
    assert (answer["input"], answer["hidden_secrets"]) == ({"sku": "bad", "card": "••••••"}, 1)
    assert json.loads((await run("jobs", "show", seeded.bad, "--json", **seeded.given)).output)["input"] is None
    for text in (shown, seen, as_json.output):
        assert "4111" not in text
        assert "\x1b" not in text
    nothing = await run("jobs", "show", seeded.bad[:-4] + "0000", **seeded.given)
    assert (nothing.status, "has no run" in nothing.errors) == (1, True)
    assert (await run("jobs", "show", "7", **seeded.given)).status == 2


async def test_discard(run: Run, seeded: Seeded, connection: Any) -> None:
    refused = await run("jobs", "discard", seeded.bad, "--yes", **seeded.given)
    assert (refused.status, "needs a reason" in refused.errors) == (2, True)
    done = await run("jobs", "discard", seeded.bad, seeded.good, "--yes", "--reason", "a test", **seeded.given)
    assert done.output == "1 run discarded; 1 run was not dead.\n"
    assert await connection.fetchval("SELECT note FROM events.run_end WHERE discarded_at IS NOT NULL") == "a test"


async def test_cancel_retry_and_replay(run: Run, seeded: Seeded, connection: Any) -> None:
    asked = await run("jobs", "cancel", seeded.later, **seeded.given)
    assert (asked.status, "Cancel 1 run? Nobody can be asked" in asked.errors) == (2, True)
    done = await run("jobs", "cancel", seeded.later, seeded.good, "--yes", "--reason", "not now", **seeded.given)
    assert done.output == "1 run cancelled; 1 run had ended.\n"
    assert (await run("jobs", "retry", seeded.good, "--yes", **seeded.given)).output == (
        "Nothing was changed; 1 run had not ended, or had succeeded.\n"
    )
    retried = await run("jobs", "retry", seeded.bad, "--yes", "--json", "--actor", "ann", **seeded.given)
    assert json.loads(retried.output) == {"asked": 1, "changed": 1, "conflicts": []}
    again = await run("jobs", "replay", seeded.good, "--from", "scratch", "--yes", **seeded.given)
    assert again.output == "1 run replayed.\n"
    assert await connection.fetchval("SELECT count(*) FROM events.run_step WHERE run_id = $1", seeded.good) == 0
    actions = await connection.fetch("SELECT action, actor FROM events.operator_action ORDER BY acted_at")
    assert [row["action"] for row in actions] == ["cancel_runs", "retry_runs", "retry_runs", "replay_runs"]
    assert actions[2]["actor"] == "ann"
    assert actions[0]["actor"].startswith("cli:")
    gone = await run("jobs", "retry", seeded.bad[:-4] + "0000", "--yes", **seeded.given)
    assert (gone.status, "There is no run" in gone.errors) == (1, True)


async def test_all_of_a_job_that_failed(run: Run, seeded: Seeded) -> None:
    for arguments, says in (
        ([], "Which runs? Give their ids, or --job"),
        ([seeded.bad, "--job", "stock.restock"], "Give ids, or say which"),
        (["--job", "stock.restock", "--state", "completed", "--yes"], "it is one of failed, timed_out, canceled"),
        (["--job", "stock.restock", "--before", "soon", "--yes"], "is no time"),
    ):  # fmt: skip
        done = await run("jobs", "retry", *arguments, **seeded.given)
        assert (done.status, says in done.errors) == (2, True), (arguments, done.errors)
    unknown = await run("jobs", "retry", "--job", "stock.restok", "--yes", **seeded.given)
    assert (unknown.status, "Did you mean 'stock.restock'?" in unknown.errors) == (1, True)
    early = await run("jobs", "retry", "--job", "stock.restock", "--before", "1h", "--yes", **seeded.given)
    assert early.output == "No run matches. Nothing was changed.\n"
    done = await run("jobs", "retry", "--job", "stock.restock", "--yes", **seeded.given)
    assert done.output == "1 run retried.\n"


async def test_a_job_is_paused_and_resumed(run: Run, seeded: Seeded) -> None:
    for act, says in (
        ("pause", "paused."), ("pause", "nothing was changed, it was paused already."), ("resume", "resumed."),
        ("resume", "nothing was changed, it was not paused."),
    ):  # fmt: skip
        done = await run("jobs", act, "stock.restock", "--reason", "x", **seeded.given)
        assert done.output == f"stock.restock of the group app: {says}\n"
    await run("jobs", "pause", "stock.restock", **seeded.given)
    assert "missing, paused" in (await run("jobs", "kinds", **seeded.given)).output
    wrong = await run("jobs", "pause", "stock.restok", **seeded.given)
    assert (wrong.status, "Did you mean 'stock.restock'?" in wrong.errors) == (1, True)


async def test_the_doctor_tells_of_runs_that_nobody_runs(run: Run, seeded: Seeded, connection: Any) -> None:
    async def findings() -> dict[str, Any]:
        done = await run("doctor", "--json", **seeded.given)
        return {finding["name"]: finding for finding in json.loads(done.output)["findings"]}

    found = await findings()
    assert found["pools"]["status"] == "ok"
    assert "stock.count (1 waiting)" in found["missing jobs"]["message"]
    await run("jobs", "retry", seeded.bad, "--yes", **seeded.given)
    await run("jobs", "pause", "stock.restock", **seeded.given)
    found = await findings()
    assert (found["pools"]["status"], "batch (1 ready)" in found["pools"]["message"]) == ("warn", True)
    assert "stock.restock (1 waiting)" in found["paused jobs"]["message"]
    await connection.execute("UPDATE events.worker SET pools = '{\"batch\": 5}', lease_until = now() + interval '1 h'")
    found = await findings()
    assert found["pools"]["status"] == "ok"
    assert "stock.restock (1 waiting)" in found["missing jobs"]["message"]
    await connection.execute("UPDATE events.worker SET jobs = ARRAY(SELECT id FROM events.job)")
    found = await findings()
    assert (found["missing jobs"]["status"], found["paused jobs"]["status"]) == ("ok", "warn")


@pytest.mark.slow
async def test_on_a_terminal(seeded: Seeded, project: Path) -> None:
    for arguments in (["list"], ["kinds"], ["show", seeded.bad, "--show-payload"]):
        done = await asyncio.to_thread(on_terminal, project, "jobs", *arguments, width=100, **seeded.given)
        assert done.status == 0, done.output
        assert "\x1b[2J" not in done.output
        lines = [line for line in done.output.splitlines() if "RUN" in line or "stock.restock" in line]
        assert lines
