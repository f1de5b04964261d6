"""Runs that are over go at their age, with everything that belongs to them; nothing that somebody may ask for does."""

from fastapi_events import Dedupe, JobContext, Module, Retry
from tests.delivery.stage import Stage
from tests.retention.test_rows import prune

TABLES = (
    "run", "run_queue", "run_end", "run_step", "run_attempt", "run_signal", "run_progress", "run_log", "run_log_cut",
    "run_edit",
)  # fmt: skip


async def counts(stage: Stage) -> dict[str, int]:
    return {table: await stage.value(f"SELECT count(*) FROM events.{table}") for table in TABLES}


async def age(stage: Stage, days: int) -> None:
    await stage.rows(f"UPDATE events.run_end SET finished_at = finished_at - interval '{days} days'")


async def number() -> int:
    return 1


async def test_each_goes_at_its_age(stage: Stage) -> None:
    module = Module("shop")

    @module.job(retry=Retry(1))
    async def work(job: JobContext[bool]) -> int:
        await job.progress(1, 2)
        for line in range(20):
            job.log.info("%d", line)
        counted = await job.step("number", number)
        if job.input:
            raise ValueError("failed")
        return counted

    events = await stage.idle(module, pools=["batch"], run_log_lines=10)
    done, failed = [await events.jobs.start(work, fails) for fails in (False, True)]
    waiting = await events.jobs.start(work, False, delay=3600)
    for run in (done, failed, waiting):
        await events.jobs.signal(run, "hello")
    await events.drain_once()
    assert await events.operations.runs.edit_and_retry(failed.run, True, actor="ann")
    await events.drain_once()
    before = await counts(stage)
    assert (before["run_log"], before["run_log_cut"]) == (2 * 9, 2)
    await age(stage, 29)
    assert not (await prune(events)).rows
    await age(stage, 2)
    assert (await prune(events)).rows == {"run_end": 1}
    assert (await counts(stage))["run"] == 2
    await age(stage, 60)
    assert (await prune(events)).rows == {"run_end": 1}
    assert await counts(stage) == {
        "run": 1, "run_queue": 1, "run_end": 0, "run_step": 0, "run_attempt": 0, "run_signal": 1, "run_progress": 0,
        "run_log": 0, "run_log_cut": 0, "run_edit": 0,
    }  # fmt: skip


async def test_a_child_stays_while_the_run_that_spawned_it_goes_on(stage: Stage) -> None:
    module = Module("shop")

    @module.job()
    async def child(job: JobContext[int]) -> int:
        return job.input

    @module.job()
    async def parent(job: JobContext[None]) -> list[int]:
        await job.spawn(child, 5)
        await job.signal("go on", str)
        return list(await job.gather_children())

    events = await stage.idle(module)
    started = await events.jobs.start(parent, None)
    await events.drain_once()
    await age(stage, 365)
    assert not (await prune(events)).rows
    await events.jobs.signal(started, "go on", "now")
    await stage.rows("UPDATE events.run_end SET expires_at = 'infinity'")
    await events.drain_once()
    assert await events.jobs.result(started, timeout=1) == [5]


async def test_one_that_stands_for_starts_stays_until_the_time_for_that_is_over(stage: Stage) -> None:
    module = Module("shop")

    @module.job(dedupe=Dedupe(key=str, window=90 * 86_400))
    async def work(job: JobContext[int]) -> None: ...

    events = await stage.idle(module)
    first = await events.jobs.start(work, 1)
    await events.drain_once()
    await age(stage, 60)
    assert not (await prune(events)).rows
    again = await events.jobs.start(work, 1)
    assert (again.run, again.existing) == (first.run, True)
    assert (await events.jobs.get(again)).state == "completed"
    await stage.rows("UPDATE events.run_dedupe SET expires_at = clock_timestamp()")
    assert (await prune(events)).rows == {"run_end": 1}
    assert not (await events.jobs.start(work, 1)).existing
