"""What operators see of jobs, runs and pools."""

import asyncio
import json
from typing import Annotated, Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, SecretStr

from fastapi_events import JobContext, Module, Retry, Secret, fixed
from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.observe import run_search
from fastapi_events.api.redaction import Redactor
from fastapi_events.api.run_answers import run_answer
from fastapi_events.errors import InvalidFilter
from fastapi_events.store.run_readings import PENDING, RUNNING
from tests.delivery.stage import Stage, until, within


class Restock(BaseModel):
    """What is to be restocked."""

    sku: str
    supplier: Annotated[str, Secret] = "acme-house-4711"
    card: SecretStr = SecretStr("4111-1111")


class Stock:
    """A module of jobs, and what holds them."""

    def __init__(self) -> None:
        self.module, self.hold, self.begun = Module("shop"), asyncio.Event(), asyncio.Event()

        @self.module.job(retry=Retry(1), scope=lambda given: ("sku", given.sku))
        async def restock(job: JobContext[Restock]) -> str:
            if job.input.sku == "bad":
                raise ValueError(f"no supplier {job.input.supplier} takes {job.input.card.get_secret_value()}")
            return job.input.sku

        @self.module.job(pool="slow")
        async def count(job: JobContext[int]) -> None:
            self.begun.set()
            await self.hold.wait()

        self.restock, self.count = restock, count


async def test_a_job_with_its_load(stage: Stage) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    await events.jobs.start_many(stock.restock, [Restock(sku="bad"), Restock(sku="good")])
    await events.drain_once()
    await events.jobs.start_many(stock.restock, [Restock(sku="a")] * 3)
    await events.jobs.start(stock.restock, Restock(sku="a"), delay=3600)
    count, restock = await events.observe.jobs()
    assert (count.name, count.pool, restock.pool) == ("shop.count", "slow", "batch")
    assert (restock.ready, restock.waiting, restock.running, restock.failed) == (3, 1, 0, 1)
    assert restock.oldest_ready == (await events.observe.runs("state:pending")).runs[-1].created_at
    assert (count.ready, count.failed, count.oldest_ready, count.processes, count.paused_at) == (0, 0, None, 0, None)
    [for_acme, _] = await events.observe.within("acme").jobs()
    assert (for_acme.name, for_acme.ready, for_acme.processes) == ("shop.count", None, None)


async def test_counting_stops(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    await events.jobs.start_many(stock.restock, [Restock(sku="a")] * 5)
    await events.jobs.start_many(stock.restock, [Restock(sku="bad")] * 5)
    await events.drain_once()
    await events.jobs.start_many(stock.restock, [Restock(sku="a")] * 5)
    monkeypatch.setattr("fastapi_events.api.observe.job_readings.JOB_COUNT_LIMIT", 3)
    _, restock = await events.observe.jobs()
    assert (restock.ready, restock.failed) == (3, 3)


async def test_pools_with_their_processes_and_what_they_run(stage: Stage) -> None:
    stock = Stock()
    events = await stage.running(stock.module, concurrency={"slow": 2}, pools=["slow"])
    started = await events.jobs.start_many(stock.count, [1, 2, 3])
    await within(stock.begun.wait())
    await until(lambda: running_of(events, 2))
    batch, slow = await events.observe.pools()
    assert (batch.name, batch.jobs, batch.workers, batch.concurrency) == ("batch", ("shop.restock",), (), 0)
    assert (slow.name, slow.concurrency, slow.running, slow.ready) == ("slow", 2, 2, 1)
    assert [worker.id for worker in slow.workers] == [events.runtime.worker]
    assert [(run.id, run.job, run.attempt) for run in slow.runs] == [(one.run, "shop.count", 1) for one in started[:2]]
    assert {run.worker_id for run in slow.runs} == {events.runtime.worker}
    count, restock = await events.observe.jobs()
    assert (count.processes, restock.processes) == (1, 0)
    assert await events.observe.within("acme").pools() == []
    stock.hold.set()


async def running_of(events: Any, number: int) -> bool:
    return len((await events.observe.runs("state:running")).runs) == number


async def test_a_process_that_does_not_run_jobs_says_so(stage: Stage) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    assert [pool.workers for pool in await events.observe.pools()] == [(), ()]


async def test_runs_are_found_by_whatever_they_are(stage: Stage) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    bad, good = await events.jobs.start_many(stock.restock, [Restock(sku="bad"), Restock(sku="good")], tags=["x"])
    await events.drain_once()
    mine = await events.jobs.start(stock.restock, Restock(sku="good"), tenant_id="acme", tags=["x", "y z"])
    count = await events.jobs.start(stock.count, 1)
    for where, found in (
        ("", [count, mine, good, bad]), ("job:shop.restock", [mine, good, bad]), ("shop.count", [count]),
        ("pool:slow", [count]), ("pool:batch state:pending", [mine]), ("state:failed", [bad]),
        ("state:completed", [good]), ("state:pending", [count, mine]), ("state:running", []),
        ("scope:sku/good", [mine, good]), ("scope:sku/good state:completed", [good]), ("tenant:acme", [mine]),
        ("tenant:acme state:failed", []), ("tenant:acme state:pending", [mine]), (f"id:{bad.run}", [bad]),
        (str(bad.run), [bad]), (f"id:{bad.run} state:completed", []), ('tag:"y z" job:shop.restock', [mine]),
        ("tag:x state:failed", [bad]), ("tag:x state:pending", [mine]), ("job:shop.count pool:batch", []),
        (f"root:{bad.run}", [bad]), (f"parent:{bad.run}", []),
    ):  # fmt: skip
        page = await events.observe.runs(where)
        assert [run.id for run in page.runs] == [one.run for one in found], where
        assert (page.older, page.searched) == (None, False), where


async def test_pages_follow_each_other_without_gap_or_repetition(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    skus = ["bad" if number % 3 else "good" for number in range(12)]
    await events.jobs.start_many(stock.restock, [Restock(sku=sku) for sku in skus], tags=["x"], tenant_id="acme")
    await events.drain_once()
    # All at one moment, as those that one statement records may be.
    await stage.rows("UPDATE events.run_end SET finished_at = '2026-01-31T12:00Z'")
    monkeypatch.setattr(run_search, "_BATCH", 2)
    for where, number in (
        ("", 12), ("state:failed", 8), ("job:shop.restock scope:sku/bad", 8), ("tenant:acme state:completed", 4),
        ("tag:x state:completed", 4),
    ):  # fmt: skip
        whole = [run.id for run in (await events.observe.runs(where)).runs]
        assert len(whole) == number, where
        for looked in (5_000, 4):
            monkeypatch.setattr(run_search, "MAX_LOOKED", looked)
            assert await collected(events, where) == whole, (where, looked)


async def collected(events: Any, where: str) -> list[Any]:
    seen, cursor = [], None
    while True:
        page = await events.observe.runs(where, cursor=cursor, limit=3)
        seen += [run.id for run in page.runs]
        if (cursor := page.older) is None:
            return seen


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("tag:x", "tag: alone would read every run"),
        ("state:gone", "state:gone does not exist. It is one of pending"),
        ("source:events", "Did you mean event?"),
        ("schedule:nightly", "schedule:nightly is no schedule of this group"),
        ("cause:x", "cause:x is not the fingerprint of an error"),
        ("after:1h before:2h", "nothing can match"),
        ("after:soon", "after:soon is no time"),
        ("state:complete", "Did you mean completed"),
        ("scope:sku", "scope:sku is not type and id. Write scope:account/42"),
        ("id:7", "id:7 is not a UUID"),
        ("job:shop.restok", "job:shop.restok is no job of this group. Did you mean job:shop.restock"),
        ("pool:fast", "pool:fast is no pool of this group. The pools are batch, slow"),
        ("payload.sku:1", "payload.sku: is no key of this filter"),
        ("handler:x", "handler: is no key of this filter"),
        ("state:failed state:failed", "state: is given twice"),
        ("a\x00b", "control character"),
    ],
)
async def test_a_filter_that_is_not_understood_is_refused_with_the_mend(stage: Stage, where: str, says: str) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    with pytest.raises(InvalidFilter, match=says):
        await events.observe.runs(where)


async def test_a_cursor_of_another_list_is_refused(stage: Stage) -> None:
    events = await stage.idle(Stock().module)
    for where, cursor in (("", "x"), ("", str(2**63)), ("state:failed", "17"), ("", "1-" + "0" * 32)):
        with pytest.raises(InvalidFilter, match="is no position of this list"):
            await events.observe.runs(where, cursor=cursor)
    with pytest.raises(InvalidFilter, match="limit=0"):
        await events.observe.runs(limit=0)


async def test_tenants_see_their_runs_alone(stage: Stage) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    hers = await events.jobs.start(stock.restock, Restock(sku="a"), tenant_id="acme")
    his = await events.jobs.start(stock.restock, Restock(sku="a"), tenant_id="globex")
    nobodys = await events.jobs.start(stock.restock, Restock(sku="a"))
    seen = events.observe.within("acme")
    for where in (
        "", "job:shop.restock", "scope:sku/a", "state:pending", "tenant:globex", f"id:{his.run}", f"root:{his.run}",
    ):  # fmt: skip
        found = {run.id for run in (await seen.runs(where)).runs}
        assert found <= {hers.run}, where
        assert found or "globex" in where or str(his.run) in where, where
    assert (await seen.run(hers.run)) is not None
    assert (await seen.run(his.run), await seen.run(nobodys.run)) == (None, None)
    assert (await events.observe.within().runs()).runs == ()


async def test_another_groups_runs_are_not_there(stage: Stage) -> None:
    stock = Stock()
    ours, theirs = await stage.idle(stock.module), await stage.idle(Stock().module, group="other")
    started = await ours.jobs.start(stock.restock, Restock(sku="a"))
    assert (await theirs.observe.runs("scope:sku/a")).runs == ()
    assert (await theirs.observe.runs(f"id:{started.run}")).runs == ()
    assert await theirs.observe.run(started.run) is None


async def test_one_run_with_everything_around_it(stage: Stage) -> None:
    shop, fails = Module("shop"), [True, True]

    async def double(number: int) -> int:
        return number * 2

    async def refuse() -> None:
        raise LookupError("no line")

    @shop.job(retry=Retry(2, fixed(0)))
    async def work(job: JobContext[int]) -> int:
        doubled = await job.step("double", double, job.input)
        await job.checkpoint()
        await job.progress(1, 4)
        if fails.pop():
            await job.step("refuse", refuse, retry=Retry(1))
        return doubled

    events = await stage.idle(shop)
    started = await events.jobs.start(work, 21, tags=["x"], priority=7, correlation_id=(talk := uuid4()))
    await events.drain_once()
    run = await events.observe.run(str(started.run))
    assert run is not None
    assert (run.state, run.attempts, run.priority, run.tags, run.correlation_id) == ("failed", 2, 7, ("x",), talk)
    assert (run.input, run.result, run.why, run.source, run.error_message) == ("21", None, None, "manual", "no line")
    assert [(step.number, step.kind, step.state, step.result) for step in run.steps] == [
        (1, "step", "done", "42"), (2, "checkpoint", "done", None),
    ]  # fmt: skip
    assert [(one.number, one.outcome) for one in run.history] == [(1, "retry"), (2, "dead")]
    assert all("LookupError: no line" in (one.traceback or "") for one in run.history)
    assert run.progress is not None
    assert (run.progress.done, run.progress.total) == (1, 4)
    assert run.worker_id == events.runtime.worker
    assert (run.parent, run.children, run.edits) == (None, (), ())
    assert await events.observe.run(uuid4()) is None
    with pytest.raises(InvalidFilter, match="run_id='7' is not a UUID"):
        await events.observe.run("7")


async def test_parent_and_children(stage: Stage) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    first, second, third = await events.jobs.start_many(stock.restock, [Restock(sku=name) for name in "abc"])
    for child, parent in ((second, first), (third, second)):
        await stage.rows(
            "UPDATE events.run SET parent_id = $2, root_id = $3 WHERE id = $1", child.run, parent.run, first.run
        )
    middle = await events.observe.run(second.run)
    assert middle is not None
    assert middle.parent is not None
    assert (middle.parent.id, [child.id for child in middle.children]) == (first.run, [third.run])
    assert middle.root_id == first.run
    tree = await events.observe.runs(f"root:{first.run}")
    assert [run.id for run in tree.runs] == [third.run, second.run, first.run]
    assert [run.id for run in (await events.observe.runs(f"parent:{first.run}")).runs] == [second.run]


async def test_it_says_why_a_run_is_not_being_run(stage: Stage) -> None:
    stock = Stock()
    events = await stage.running(stock.module, pools=["slow"], concurrency={"slow": 1})

    async def why(started: Any) -> str:
        run = await events.observe.run(started.run)
        assert run is not None
        return run.why or ""

    running = await events.jobs.start(stock.count, 1)
    await within(stock.begun.wait())
    assert await why(running) == ""
    assert await why(await events.jobs.start(stock.count, 2)) == "it is ready, and waits for a free place in its pool"
    nobody = "no live process runs shop.restock (pool batch)"
    assert await why(await events.jobs.start(stock.restock, Restock(sku="a"))) == nobody
    late = await events.jobs.start(stock.restock, Restock(sku="a"), delay=3600)
    assert (await why(late)).startswith("it is put off until 2")
    await events.operations.pause_job("shop.restock", actor="ann")
    assert (await why(late)).endswith(f"; shop.restock is paused; {nobody}")
    await stage.rows("UPDATE events.run_queue SET state = 'r', due_at = NULL, crashes = 2 WHERE run_id = $1", late.run)
    assert (await why(late)).startswith("2 processes ended while running it, and such runs go one at a time; shop")
    stock.hold.set()


async def test_secrets_are_shown_to_nobody(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    started = await events.jobs.start(stock.restock, Restock(sku="bad"))
    await events.drain_once()
    kept = json.dumps([[*map(str, row)] for row in await stage.rows("SELECT * FROM events.run_attempt")])
    kept += str(await stage.rows("SELECT error_message FROM events.run_end")) + caplog.text
    run = await events.observe.run(started.run)
    assert run is not None
    staff = Actor("ann", permissions=frozenset({Permission.view, Permission.view_payload}), tenants=None)
    shown = run_answer(run, events.registry.jobs, Redactor(), staff)
    assert (shown.input["sku"], shown.hidden_secrets, shown.input_visible) == ("bad", 2, True)
    viewer = Actor("bob", permissions=frozenset({Permission.view}), tenants=None)
    unseen = run_answer(run, events.registry.jobs, Redactor(), viewer)
    assert (unseen.input, unseen.input_visible, unseen.hidden_secrets) == (None, False, 2)
    for text in (kept, shown.model_dump_json(), unseen.model_dump_json()):
        assert "acme-house-4711" not in text
        assert "4111-1111" not in text
    assert "no supplier" in kept


async def test_what_an_older_release_kept_of_an_error_is_not_shown_either(stage: Stage) -> None:
    stock = Stock()
    events = await stage.idle(stock.module)
    started = await events.jobs.start(stock.restock, Restock(sku="bad"))
    await events.drain_once()
    await stage.rows("UPDATE events.run_end SET error_message = 'acme-house-4711', note = 'acme-house-4711'")
    await stage.rows("UPDATE events.run_attempt SET error_message = 'acme-house-4711', traceback = 'acme-house-4711'")
    run = await events.observe.run(started.run)
    assert run is not None
    viewer = Actor("bob", permissions=frozenset({Permission.view}), tenants=None)
    assert "acme-house-4711" not in run_answer(run, events.registry.jobs, Redactor(), viewer).model_dump_json()


async def test_every_state_of_the_queue_is_listed(stage: Stage) -> None:
    """A state that the lists do not know would hide its runs."""
    rule = await stage.value(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'events.run_queue'::regclass "
        "AND contype = 'c' AND pg_get_constraintdef(oid) LIKE '%state%'"
    )
    for state in (*PENDING, *RUNNING):
        assert f"'{state}'" in rule
    assert rule.count('::"char"') == len(PENDING) + len(RUNNING), rule
