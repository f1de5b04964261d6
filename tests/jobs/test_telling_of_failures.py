"""What is said of a run that has failed, or is to be tried again, wherever somebody asks."""

import pytest

from fastapi_events import JobContext, Module, Retry, fixed
from fastapi_events.errors import InvalidFilter, JobCanceled, JobFailed
from tests.delivery.stage import Pinged, Stage


async def test_a_run_that_is_tried_again_tells_its_last_error(stage: Stage) -> None:
    shop, failing = Module("shop"), [True]

    @shop.job(retry=Retry(3, fixed(3600)))
    async def work(job: JobContext[None]) -> None:
        if failing[0]:
            raise KeyError("sku")

    events = await stage.idle(shop)
    started = await events.jobs.start(work, None)
    assert (await events.jobs.get(started)).error_type is None
    await events.drain_once()
    for run in (await events.jobs.get(started), *(await events.jobs.list(work)).runs):
        assert (run.state, run.attempts, run.error_type, run.error_message) == ("pending", 1, "KeyError", "'sku'")
    assert "after 1 attempt (KeyError)" in ((await events.observe.run(started.run)).why or "")
    failing[0] = False
    await stage.rows("UPDATE events.run_queue SET due_at = clock_timestamp()")
    await events.drain_once()
    done = await events.jobs.get(started)
    assert (done.state, done.attempts, done.error_type, done.error_message) == ("completed", 2, None, None)


async def test_a_run_that_begins_anew_has_no_error_of_its_life_before(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1))
    async def work(job: JobContext[None]) -> None:
        raise KeyError("sku")

    events = await stage.idle(shop)
    started = await events.jobs.start(work, None)
    await events.drain_once()
    assert (await events.jobs.get(started)).error_type == "KeyError"
    assert await events.jobs.retry(started)
    assert (await events.jobs.get(started)).error_type is None


async def test_whoever_asks_for_a_result_is_told_the_type_of_the_error(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job(retry=Retry(1))
    async def work(job: JobContext[None]) -> None:
        raise KeyError("sku")

    @shop.job(retry=Retry(1))
    async def parent(job: JobContext[None]) -> None:
        await job.gather_children(await job.spawn(work, None))

    events = await stage.idle(shop)
    started, above = await events.jobs.start(work, None), await events.jobs.start(parent, None)
    unwanted, unsaid = [await events.jobs.start(work, None, delay=60) for _ in range(2)]
    assert await events.jobs.cancel(unwanted, reason="not wanted")
    assert await events.jobs.cancel(unsaid)
    await events.drain_once()
    with pytest.raises(JobFailed, match=rf"run {started.run} of shop.work has failed: KeyError: 'sku'") as caught:
        await events.jobs.result(started, timeout=1)
    assert caught.value.run == started.run
    with pytest.raises(JobFailed, match=r"of shop.parent has failed: .*JobFailed: run .* has failed: KeyError: 'sku'"):
        await events.jobs.result(above, timeout=1)
    with pytest.raises(JobCanceled, match=r"of shop.work was cancelled: not wanted\Z"):
        await events.jobs.result(unwanted, timeout=1)
    with pytest.raises(JobCanceled, match=r"of shop.work was cancelled\.\Z"):
        await events.jobs.result(unsaid, timeout=1)


async def test_runs_that_nobody_commits_are_told_as_runs(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    shop = Module("shop")

    @shop.job()
    async def work(job: JobContext[int]) -> None: ...

    events = await stage.idle(shop)
    async with events.session() as session:
        await events.job_client(session).start_many(work, [1, 2])
    async with events.session() as session:
        await events.publisher(session)(Pinged())
        await events.job_client(session).start(work, 1)
    runs, both = [record.getMessage() for record in caplog.records if "they are lost" in record.getMessage()]
    assert runs.startswith("A session ended with runs that were started, which it neither committed nor rolled back")
    assert f"they are lost: shop.work, started at {__file__}:" in runs
    assert ", and 1 more. Call commit() after jobs.start(), on the session that the client is bound to" in runs
    assert "with published events and runs that were started, which" in both
    assert "shop.page.pinged, published at" in both
    assert "; shop.work, started at" in both


async def test_what_is_no_job_is_named(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def work(job: JobContext[None]) -> None: ...

    events = await stage.idle(shop)
    name: object = "shop.work"
    with pytest.raises(InvalidFilter, match=r"jobs.list\(\) takes a job, not 'shop.work'\. Pass what"):
        await events.jobs.list(name)  # type: ignore[arg-type]
    for missing in ("start", "delay"):
        with pytest.raises(
            AttributeError, match=rf"job 'shop.work' has no '{missing}'\. It is started by a client: run"
        ):
            getattr(work, missing)
