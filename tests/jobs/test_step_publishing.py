"""What steps publish and start: there with the step's result, once, whatever becomes of the attempt."""

from typing import Any

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_events import (
    Event,
    EventPublisher,
    HandlerSession,
    JobClient,
    JobContext,
    Module,
    Retry,
    SyncEventPublisher,
    emits,
    fixed,
)
from tests.delivery.stage import Placed, Stage, effect, until


class Base(DeclarativeBase):
    pass


class ArticleAdded(Event, name="shop.article.added", aggregate_id="number"):
    number: int


@emits(created=ArticleAdded)
class Article(Base):
    __tablename__ = "step_article"
    number: Mapped[int] = mapped_column(primary_key=True)


async def tell(number: int, publish: EventPublisher) -> int:
    await publish(Placed(order="a", number=number))
    return number


def tell_plainly(number: int, publish: SyncEventPublisher) -> int:
    publish(Placed(order="a", number=number))
    return number


async def numbers(stage: Stage) -> list[int]:
    rows = await stage.rows("SELECT (payload ->> 'number')::int AS number FROM events.event ORDER BY position")
    return [row["number"] for row in rows]


async def test_events_of_steps_without_a_session_are_there_with_their_results(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def work(job: JobContext[None]) -> None:
        await job.step("one", tell, 1)
        await job.step("two", tell, 2)
        await job.step("three", tell_plainly, 3)
        await job.sleep(3600)

    events = await stage.idle(shop)
    await events.jobs.start(work, None)
    await events.drain_once()
    assert await numbers(stage) == [1, 2, 3]
    assert await stage.value("SELECT count(DISTINCT id) FROM events.event") == 3


async def test_a_run_that_a_step_starts_is_there_with_its_result_and_is_run(stage: Stage) -> None:
    shop, done = Module("shop"), list[int]()

    @shop.job()
    async def other(job: JobContext[int]) -> None:
        done.append(job.input)

    async def start(number: int, jobs: JobClient) -> None:
        await jobs.start(other, number)

    @shop.job(retry=Retry(2, fixed(0)))
    async def work(job: JobContext[None]) -> None:
        await job.step("start", start, job.attempt)
        if job.attempt == 1:
            raise ValueError("after the step")
        await job.signal("go", str)

    events = await stage.running(shop)
    await events.jobs.start(work, None)
    await until(lambda: stage.value("SELECT 1 FROM events.run_step WHERE kind = 'signal'"))
    await until(lambda: done)
    assert done == [1]


async def test_a_step_that_fails_or_has_lost_its_run_has_published_nothing(stage: Stage) -> None:
    shop = Module("shop")

    async def fail(publish: EventPublisher) -> None:
        await publish(Placed(order="a", number=1))
        raise ValueError("half done")

    async def lose(publish: EventPublisher) -> None:
        await publish(Placed(order="a", number=2))
        await stage.rows("UPDATE events.run_queue SET token = token + 1")

    @shop.job(retry=Retry(1))
    async def failing(job: JobContext[None]) -> None:
        await job.step("fail", fail)

    @shop.job(retry=Retry(1))
    async def losing(job: JobContext[None]) -> None:
        await job.step("lose", lose)

    events = await stage.idle(shop)
    await events.jobs.start(failing, None)
    await events.drain_once()
    await events.jobs.start(losing, None)
    await events.drain_once()
    assert await numbers(stage) == []


async def test_rows_that_two_steps_flush_tell_of_themselves(stage: Stage) -> None:
    shop = Module("shop")

    async def add(number: int, session: HandlerSession) -> None:
        session.add(Article(number=number))

    @shop.job(retry=Retry(1))
    async def work(job: JobContext[None]) -> None:
        await job.step("one", add, 1)
        await job.step("two", add, 2)

    events = await stage.idle(shop)
    await stage.rows("CREATE TABLE step_article (number int primary key)")
    try:
        await events.jobs.start(work, None)
        await events.drain_once()
        assert await numbers(stage) == [1, 2]
        assert await stage.value("SELECT count(DISTINCT id) FROM events.event") == 2
    finally:
        await stage.rows("DROP TABLE step_article")


async def test_a_run_that_is_done_again_publishes_events_of_its_own(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def work(job: JobContext[None], publish: EventPublisher) -> None:
        await publish(Placed(order="a", number=job.run.attempt))

    events = await stage.idle(shop)
    run = await events.jobs.start(work, None)
    await events.drain_once()
    await events.jobs.replay(run, from_="scratch")
    await events.drain_once()
    assert await numbers(stage) == [1, 2]
    assert await stage.value("SELECT count(DISTINCT id) FROM events.event") == 2


async def test_a_step_does_not_publish_or_write_by_what_its_job_has(stage: Stage) -> None:
    shop = Module("shop")

    @shop.job()
    async def other(job: JobContext[None]) -> None: ...

    async def write(session: Any) -> None:
        await effect(session, "write", 1)

    @shop.job()
    async def publishes(job: JobContext[None], publish: EventPublisher) -> None:
        await job.step("tell", publish, Placed(order="a"))

    @shop.job()
    async def starts(job: JobContext[None], session: HandlerSession, jobs: JobClient) -> None:
        await job.step("start", jobs.start, other, None)

    @shop.job()
    async def writes(job: JobContext[None], session: HandlerSession) -> None:
        await job.step("write", write, session)

    events = await stage.idle(shop)
    for wrong, says in (
        (publishes, "step 'tell' would publish shop.order.placed by the EventPublisher of its job"),
        (starts, "step 'start' would start shop.other by the JobClient of its job"),
        (writes, "step 'write' is given the session of its job"),
    ):
        run = await events.jobs.start(wrong, None)
        await events.drain_once()
        found = await events.jobs.get(run)
        assert (found.state, found.attempts, found.error_type) == ("failed", 1, "fastapi_events.errors.InvalidJob")
        assert says in str(found.error_message)
    assert await stage.value("SELECT count(*) FROM events.event") == 0
    assert await stage.value("SELECT count(*) FROM events.run") == 3
