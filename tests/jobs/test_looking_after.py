"""Lists of runs, and letting one begin anew."""

from uuid import uuid4

import pytest

from fastapi_events import JobContext, Module, Retry
from fastapi_events.errors import InvalidFilter, RunNotFound
from tests.delivery.stage import Stage, within


async def test_runs_are_listed_by_job_state_and_scope_page_by_page(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1), scope=lambda number: ("number", number))
    async def odd(job: JobContext[int]) -> None:
        if job.input % 2 == 0:
            raise ValueError("even")

    @shop.job()
    async def other(job: JobContext[None]) -> None:
        return None

    events = await stage.idle(shop)
    await events.jobs.start_many(odd, range(5))
    await events.drain_once()
    await events.jobs.start(other, None)
    assert [run.job for run in (await events.jobs.list()).runs] == ["shop.other"] + ["shop.odd"] * 5
    assert [run.state for run in (await events.jobs.list(state="pending")).runs] == ["pending"]
    assert len((await events.jobs.list(odd, state="failed")).runs) == 3
    assert (await events.jobs.list(odd, state="running")).runs == []
    assert [run.scope for run in (await events.jobs.list(scope=("number", 3))).runs] == [("number", "3")]
    for state in (None, "failed"):
        whole = [run.id for run in (await events.jobs.list(odd, state=state)).runs]
        seen, after = [], None
        while True:
            page = await events.jobs.list(odd, state=state, after=after, limit=2)
            seen += [run.id for run in page.runs]
            if (after := page.next) is None:
                break
        assert seen == whole


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"state": "done"}, "state='done' is not one of pending"),
        ({"limit": 0}, "limit=0: it is a whole number from 1 to 500"),
        ({"after": "x"}, "after='x' is no place"),
        ({"scope": ("a", 1), "state": "failed"}, "scope= does not go with"),
        ({"scope": "a"}, "scope"),
    ],
)
async def test_a_filter_that_is_not_understood_is_refused(stage: Stage, wanted: dict[str, object], says: str) -> None:
    events = await stage.idle(Module("shop"))
    with pytest.raises(InvalidFilter, match=says):
        await events.jobs.list(**wanted)


async def test_one_that_has_failed_begins_anew_with_what_its_steps_have_done(stage: Stage) -> None:
    shop, calls, fails = Module("shop"), [], [True, True]

    async def count() -> int:
        calls.append("step")
        return len(calls)

    @shop.job(retry=Retry(1))
    async def restock(job: JobContext[None]) -> tuple[int, int, int]:
        counted = await job.step("count", count)
        if fails and fails.pop():
            raise ValueError("not yet")
        return counted, job.attempt, job.run.attempt

    events = await stage.idle(shop)
    started = await events.jobs.start(restock, None)
    await events.drain_once()
    assert (await events.jobs.get(started)).state == "failed"
    assert await events.jobs.retry(started)
    assert not await events.jobs.retry(started)
    await events.drain_once()
    assert await events.jobs.retry(started)
    await events.drain_once()
    assert await within(events.jobs.result(started, timeout=1)) == (1, 1, 3)
    assert not await events.jobs.retry(started)
    with pytest.raises(RunNotFound):
        await events.jobs.retry(uuid4())
