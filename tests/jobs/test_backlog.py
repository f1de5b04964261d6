"""A pool takes no more than it can record: what has ended and is not recorded yet is still in its hand."""

from fastapi_events import JobContext, Module
from fastapi_events.engine.jobs.pool import UNRECORDED
from tests.delivery.stage import Stage, until, within

COUNT, CONCURRENCY, BATCH = 200, 2, 10


async def test_a_pool_waits_for_what_cannot_be_recorded(stage: Stage) -> None:
    shop, seen, others = Module("shop"), list[int](), list[int]()

    @shop.job(pool="busy")
    async def restock(job: JobContext[int]) -> None:
        seen.append(job.input)

    @shop.job(pool="other")
    async def count(job: JobContext[int]) -> None:
        others.append(job.input)

    settings = {"batch_size": BATCH, "concurrency": {"busy": CONCURRENCY}}
    idle = await stage.idle(shop, **settings)
    await idle.jobs.start_many(restock, range(COUNT))
    await stage.rows("BEGIN")
    await stage.rows("LOCK TABLE events.run_end IN SHARE MODE")
    events = await stage.running(shop, **settings)
    most = CONCURRENCY + UNRECORDED * BATCH
    await until(lambda: len(seen) >= most)
    for number in range(5):  # each is claimed and run while the first pool has time to claim
        await events.jobs.start(count, number)
        await until(lambda wanted=number: others[-1:] == [wanted])
    assert len(seen) == most
    await stage.rows("COMMIT")
    await until(lambda: len(seen) == COUNT)
    assert sorted(seen) == list(range(COUNT))

    async def recorded() -> bool:
        return await stage.value("SELECT count(*) FROM events.run_end") == COUNT + len(others)

    await within(until(recorded))
