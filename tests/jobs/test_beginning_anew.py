"""What a run that begins anew is told by its limits: it has its key and its place again, or another one is named."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from pydantic import BaseModel

from fastapi_events import Concurrency, Dedupe, Events, JobContext, Module, Retry
from fastapi_events.errors import InvalidInput, OperationUnavailable, RunConflict
from tests.delivery.stage import Stage, within


class Restock(BaseModel):
    """What is limited by its sku."""

    sku: str
    number: int = 0


class Shop:
    """A job that fails as often as it is told, and notes what it was given."""

    def __init__(self, fails: int = 0, **options: Any) -> None:
        self.module, self.seen, self.fails = Module("shop"), list[str](), fails

        @self.module.job("shop.restock", retry=Retry(1), **options)
        async def restock(job: JobContext[Restock]) -> None:
            self.seen.append(job.input.sku)
            if self.fails:
                self.fails -= 1
                raise ValueError("not yet")

        self.restock = restock


def by_sku(restock: Restock) -> str:
    return restock.sku


BY_SKU = Dedupe(key=by_sku)
WINDOW = Dedupe(key=by_sku, window=3600)
REJECT = Concurrency(key=by_sku, on_collision="reject")
REPLACE = Concurrency(key=by_sku, on_collision="replace")


async def state_of(events: Events, run: Any) -> str:
    return (await events.jobs.get(run)).state


async def keys(stage: Stage) -> list[tuple[str, Any]]:
    rows = await stage.rows("SELECT key, run_id FROM events.run_dedupe ORDER BY key")
    return [(row["key"], row["run_id"]) for row in rows]


async def begin(events: Events, how: str, run: Any) -> Any:
    """Let a run begin anew, in each of the ways that there are; the conflicts that it has."""
    runs = events.operations.runs
    if how == "retry":
        return (await runs.retry([run], actor="ann")).conflicts
    if how == "replay":
        return (await runs.replay([run], from_="scratch", actor="ann")).conflicts
    try:
        if how == "edit":
            await runs.edit_and_retry(run, Restock(sku="a", number=9), actor="ann")
        elif how == "jobs.retry":
            await events.jobs.retry(run)
        else:
            await events.jobs.replay(run)
    except RunConflict as conflict:
        return conflict
    return ()


HOWS = ["retry", "replay", "edit", "jobs.retry", "jobs.replay"]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("options", [{"dedupe": BY_SKU}, {"concurrency": REJECT}, {"concurrency": REPLACE}])
async def test_one_whose_place_another_has_stays_as_it_is_and_names_it(
    stage: Stage, how: str, options: dict[str, Any]
) -> None:
    shop = Shop(fails=1, **options)
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    there = await events.jobs.start(shop.restock, Restock(sku="a", number=1))
    assert not there.existing
    told = await begin(events, how, failed.run)
    if isinstance(told, RunConflict):
        assert told.run == there.run
        assert f"run {failed.run} cannot begin anew: run {there.run} " in str(told)
    else:
        assert [(one.run, one.rival) for one in told] == [(failed.run, there.run)]
    assert (await state_of(events, failed), await state_of(events, there)) == ("failed", "pending")
    await events.drain_once()
    assert await begin(events, how, failed.run) == ()
    assert await state_of(events, failed) == "pending"
    with_it = await keys(stage)
    assert with_it == ([("a", failed.run)] if "dedupe" in options else [])
    if "dedupe" in options:
        assert (await events.jobs.start(shop.restock, Restock(sku="a"))).run == failed.run
    await events.drain_once()
    assert (len(shop.seen), await state_of(events, failed)) == (3, "completed")


async def test_of_several_of_one_key_the_oldest_begins_and_the_record_says_so(stage: Stage) -> None:
    shop = Shop(fails=3, concurrency=REJECT)
    events = await stage.idle(shop.module)
    failed: list[Any] = []
    for sku in "aab":
        failed.append((await events.jobs.start(shop.restock, Restock(sku=sku))).run)
        await events.drain_once()
    until = datetime.now(UTC) + timedelta(seconds=5)
    changed = await events.operations.runs.retry_matching(job="shop.restock", finished_before=until, actor="ann")
    assert (changed.asked, changed.changed) == (3, 2)
    assert [(one.run, one.rival) for one in changed.conflicts] == [(failed[1], failed[0])]
    [action] = await events.operations.actions(limit=1)
    assert action.details["conflicts"] == {str(failed[1]): str(failed[0])}
    assert set(action.details["changed"]) == {str(failed[0]), str(failed[2])}
    assert [await state_of(events, run) for run in failed] == ["pending", "failed", "pending"]


async def test_a_replay_waits_for_its_turn_as_any_run_does(stage: Stage) -> None:
    shop = Shop(concurrency=Concurrency(key=by_sku))
    events = await stage.idle(shop.module)
    done = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    assert await events.jobs.replay(done, from_="scratch")
    [row] = await stage.rows("SELECT state, limit_key, gate FROM events.run_queue")
    assert (row["state"].decode(), row["limit_key"], row["gate"]) == ("g", "a", "ca")
    await events.drain_once()
    assert shop.seen == ["a", "a"]


async def test_of_two_that_let_one_begin_at_once_one_does(stage: Stage) -> None:
    shop = Shop(fails=1, dedupe=BY_SKU)
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    answers = await asyncio.gather(*(events.jobs.retry(failed) for _ in range(4)))
    assert sorted(answers) == [False, False, False, True]
    await events.drain_once()
    assert shop.seen == ["a", "a"]


async def test_a_start_that_is_not_committed_is_not_waited_for_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi_events.store.limited_starts.BRIEFLY", "50")
    shop = Shop(fails=1, dedupe=BY_SKU)
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    connection = await asyncpg.connect(stage.url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "INSERT INTO events.run_dedupe (job_id, key, run_id, until_started) "
            "SELECT id, 'a', gen_random_uuid(), false FROM events.job"
        )
        for way in (events.jobs.retry(failed), events.operations.runs.retry([failed.run], actor="ann")):
            with pytest.raises(OperationUnavailable, match=r"has not ended. Nothing was changed; try again"):
                await within(way)
        await transaction.rollback()
    finally:
        await connection.close()
    assert await events.jobs.retry(failed)


async def test_a_window_runs_from_the_start_and_no_retry_extends_it(stage: Stage) -> None:
    shop = Shop(fails=2, dedupe=WINDOW)
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    before = await stage.value("SELECT expires_at FROM events.run_dedupe")
    assert await events.jobs.retry(failed)
    assert await stage.value("SELECT expires_at FROM events.run_dedupe") == before
    await events.drain_once()
    await stage.rows("UPDATE events.run_dedupe SET expires_at = clock_timestamp()")
    other = await events.jobs.start(shop.restock, Restock(sku="a"))
    assert not other.existing
    assert await events.jobs.retry(failed), "its time is over: it asks for no key, and the other one has it"
    assert await keys(stage) == [("a", other.run)]


async def test_another_input_brings_another_scope_and_other_keys(stage: Stage) -> None:
    limits = Concurrency(key=by_sku)
    shop = Shop(fails=1, dedupe=BY_SKU, concurrency=limits, scope=lambda given: ("sku", given.sku))
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    assert await events.operations.runs.edit_and_retry(failed.run, Restock(sku="b"), actor="ann")
    assert (await events.jobs.get(failed)).scope == ("sku", "b")
    [row] = await stage.rows("SELECT limit_key, gate, dedupe_key FROM events.run_queue")
    assert (row["limit_key"], row["gate"], row["dedupe_key"]) == ("b", "cb", "b")
    assert await keys(stage) == [("b", failed.run)]
    assert (await events.jobs.start(shop.restock, Restock(sku="b"))).run == failed.run
    assert not (await events.jobs.start(shop.restock, Restock(sku="a"))).existing
    await events.drain_once()
    assert sorted(shop.seen) == ["a", "a", "b"]


async def test_a_scope_that_was_given_with_the_start_stays(stage: Stage) -> None:
    shop = Shop(fails=1, scope=lambda given: ("sku", given.sku))
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"), scope=("customer", 7))
    await events.drain_once()
    assert await events.operations.runs.edit_and_retry(failed.run, Restock(sku="b"), actor="ann")
    assert (await events.jobs.get(failed)).scope == ("customer", "7")


async def test_another_input_ends_the_window_of_the_former_one(stage: Stage) -> None:
    shop = Shop(fails=2, dedupe=WINDOW)
    events = await stage.idle(shop.module)
    edit = events.operations.runs.edit_and_retry
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    before = await stage.value("SELECT expires_at FROM events.run_dedupe")
    assert await edit(failed.run, Restock(sku="a", number=2), actor="ann")
    assert await stage.value("SELECT expires_at FROM events.run_dedupe") == before, "the same key: the same window"
    await events.drain_once()
    assert await edit(failed.run, Restock(sku="b"), actor="ann")
    assert await keys(stage) == [("b", failed.run)]
    assert not (await events.jobs.start(shop.restock, Restock(sku="a"))).existing


async def test_an_edit_that_meets_another_run_changes_nothing(stage: Stage) -> None:
    shop = Shop(fails=1, dedupe=BY_SKU, concurrency=REJECT, scope=lambda given: ("sku", given.sku))
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    there = await events.jobs.start(shop.restock, Restock(sku="b"))
    with pytest.raises(RunConflict, match=f"run {there.run} was started with its dedupe key") as caught:
        await events.operations.runs.edit_and_retry(failed.run, Restock(sku="b"), actor="ann")
    assert caught.value.run == there.run
    run = await events.observe.run(failed.run)
    assert run is not None
    assert (run.state, run.input, run.edits) == ("failed", '{"sku": "a", "number": 0}', ())
    assert (await events.jobs.get(failed)).scope == ("sku", "a")
    assert await events.operations.actions() == []


async def test_a_key_that_cannot_be_one_is_refused_before_anything_is_changed(stage: Stage) -> None:
    shop = Shop(fails=1, dedupe=BY_SKU)
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    with pytest.raises(InvalidInput, match="the dedupe key is blank"):
        await events.operations.runs.edit_and_retry(failed.run, Restock(sku=" "), actor="ann")
    assert await state_of(events, failed) == "failed"


async def test_what_waits_once_takes_its_key_again_until_it_has_begun(stage: Stage) -> None:
    """The trailing edge: one that begins anew is the one that waits, if none does."""
    shop = Shop(fails=1, dedupe=Dedupe(key=by_sku, until="started"))
    events = await stage.idle(shop.module)
    failed = await events.jobs.start(shop.restock, Restock(sku="a"))
    await events.drain_once()
    waits = await events.jobs.start(shop.restock, Restock(sku="a"))
    with pytest.raises(RunConflict, match=str(waits.run)):
        await events.jobs.retry(failed)
    await events.drain_once()
    assert await events.jobs.retry(failed)
    assert (await events.jobs.start(shop.restock, Restock(sku="a"))).run == failed.run
    await events.drain_once()
    assert not (await events.jobs.start(shop.restock, Restock(sku="a"))).existing
