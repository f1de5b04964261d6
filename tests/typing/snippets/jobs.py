"""Jobs as users declare them, and the lines that checkers must refuse."""

from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, assert_type
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_events import (
    Child,
    Concurrency,
    Dedupe,
    Event,
    EventPublisher,
    HandlerSession,
    Job,
    JobContext,
    Module,
    Published,
    RateLimit,
    Retry,
    RunInfo,
    Started,
    SyncEventPublisher,
    Trigger,
)

In = TypeVar("In")
Out = TypeVar("Out")


class Jobs(Protocol):
    """As whatever starts jobs is typed."""

    async def start(self, job: Job[In, Out], given: In) -> Started[Out]: ...


class StockLow(Event, name="inventory.stock.low"):
    sku: str
    left: int


class StockGone(Event, name="inventory.stock.gone"):
    sku: str


class Restock(BaseModel):
    sku: str


class Other(BaseModel):
    sku: str


class RestockResult(BaseModel):
    order_id: UUID


class Quote(BaseModel):
    cents: int


inventory = Module("inventory")


async def fetch_quote(sku: str, session: AsyncSession) -> Quote:
    return Quote(cents=len(sku))


def place_supplier_order(quote: Quote) -> UUID:
    return UUID(int=quote.cents)


@inventory.job(
    "inventory.restock",
    pool="batch",
    retry=Retry(5),
    timeout=timedelta(minutes=5),
    scope=lambda restock: ("sku", restock.sku),
    triggers=[
        Trigger(StockLow, map=lambda e: Restock(sku=e.sku), when=lambda e: e.left < 3),
        Trigger(StockGone, map=lambda e: Restock(sku=e.sku), id="inventory.restock.gone"),
    ],
    concurrency=Concurrency(key=lambda j: j.sku, limit=2, on_collision="queue"),
    dedupe=Dedupe(key=lambda j: f"restock-{j.sku}", window=60),
    rate_limit=RateLimit(100, per=timedelta(hours=1), key=lambda j: None if j.sku == "A-1" else j.sku),
    priority=5,
    replay_from="last_step",
    keep_result=3600,
    was=["inventory.refill"],
)
async def restock(job: JobContext[Restock]) -> RestockResult:
    assert_type(job.input, Restock)
    assert_type(job.run, RunInfo)
    quote = await job.step("quote", fetch_quote, job.input.sku, retry=Retry(3), timeout=timedelta(seconds=5))
    assert_type(quote, Quote)
    order = await job.step("order", place_supplier_order, quote)
    assert_type(order, UUID)
    assert_type(await job.step("nothing", lambda: None), None)
    await job.sleep(timedelta(days=1))
    await job.sleep(5)
    assert_type(await job.wait_for(StockLow, key=job.input.sku, timeout=60), StockLow)
    assert_type(await job.signal("approved", bool), bool)
    one = await job.spawn(count, None)
    two = await job.spawn(count, None, on_parent_close="abandon")
    assert_type(one, Child[int])
    assert_type(await job.gather_children(one, two), list[int])
    assert_type(await job.gather_children(), list[Any])
    await job.progress(1, 2)
    await job.heartbeat()
    await job.checkpoint()
    job.log.info("ordered %s", order)
    return RestockResult(order_id=order)


@inventory.job()
async def count(job: JobContext[None], session: HandlerSession) -> int:
    return job.attempt


@inventory.job()
def report(job: JobContext[Restock], session: HandlerSession, depth: int = 3) -> list[str]:
    return [job.input.sku]


class Audit:
    async def run(self, job: JobContext[Restock], session: HandlerSession) -> bool:
        return job.redelivered


class PlainAudit:
    def run(self, job: JobContext[Restock]) -> str:
        return job.input.sku


audit = inventory.job("inventory.audit")(Audit)
plain_audit = inventory.job("inventory.plain_audit")(PlainAudit)
triggered_audit = inventory.job(triggers=[Trigger(StockGone, map=lambda e: Restock(sku=e.sku))])(Audit)


@inventory.job(triggers=[Trigger(StockLow, map=lambda e: e)])
async def with_the_event(job: JobContext[StockLow]) -> None: ...


@inventory.job(triggers=[Trigger(StockLow, map=lambda e: Restock(sku=e.sku))])
def of_several(job: JobContext[Restock | None]) -> None: ...


@inventory.every("0 6 * * *", tz="Europe/Berlin", missed="skip", id="inventory.nightly")
@inventory.job()
async def nightly(job: JobContext[None], session: HandlerSession) -> int:
    assert_type(job.run.scheduled_for, datetime | None)
    return job.attempt


@inventory.every(timedelta(minutes=5))
async def often(job: JobContext[None]) -> str:
    return "often"


@inventory.every(timedelta(minutes=5))
def plainly(job: JobContext[None], session: HandlerSession) -> str:
    return "plainly"


@inventory.every("0 6 * * *", input=Restock(sku="A-1"), id="inventory.first")
@inventory.every("0 7 * * *", input=Restock(sku="A-2"), id="inventory.second")
@inventory.job()
async def by_the_clock(job: JobContext[Restock]) -> None: ...


@inventory.every("0 6 * * *", input=Restock(sku="A-1"))
@inventory.job()
async def with_or_without(job: JobContext[Restock | None]) -> None: ...


@inventory.every("0 6 * * *", input=Restock(sku="A-1"))
async def at_once(job: JobContext[Restock]) -> bool:
    return True


assert_type(nightly, Job[None, int])
assert_type(often, Job[None, str])
assert_type(plainly, Job[None, str])
assert_type(by_the_clock, Job[Restock, None])
assert_type(with_or_without, Job[Restock | None, None])
assert_type(at_once, Job[Restock, bool])
assert_type(restock, Job[Restock, RestockResult])
assert_type(count, Job[None, int])
assert_type(report, Job[Restock, list[str]])
assert_type(audit, Job[Restock, bool])
assert_type(plain_audit, Job[Restock, str])
assert_type(triggered_audit, Job[Restock, bool])
assert_type(with_the_event, Job[StockLow, None])
assert_type(of_several, Job[Restock | None, None])


async def starting(jobs: Jobs) -> None:
    run = await jobs.start(restock, Restock(sku="A-1"))
    assert_type(run, Started[RestockResult])
    assert_type((run.run, run.existing), tuple[UUID, bool])
    await jobs.start(count, None)
    await jobs.start(of_several, Restock(sku="A-1"))
    await jobs.start(restock, Other(sku="A-1"))  # wrong
    await jobs.start(restock, None)  # wrong
    await jobs.start(count, Restock(sku="A-1"))  # wrong
    await jobs.start(fetch_quote, "A-1")  # wrong
    await restock(Restock(sku="A-1"))  # wrong
    restock.dump_input(Other(sku="A-1"))  # wrong
    run.existing = True  # wrong


async def publishing(publish: EventPublisher, in_thread: SyncEventPublisher) -> None:
    published, started = await publish.and_start(StockLow(sku="A-1", left=0), restock, Restock(sku="A-1"), priority=3)
    assert_type(published, Published)
    assert_type(started, Started[RestockResult])
    low = StockLow(sku="A-1", left=0)
    assert_type(in_thread.and_start(low, count, None, trigger="low"), tuple[Published, Started[int]])
    await publish.and_start(low, restock, Other(sku="A-1"))  # wrong
    await publish.and_start(low, restock, Restock(sku="A-1"), delay=5)  # wrong
    in_thread.and_start(low, restock, None)  # wrong


@inventory.job()  # wrong
async def without_context(restock: Restock) -> None: ...


@inventory.job  # wrong
async def without_brackets(job: JobContext[Restock]) -> None: ...


@inventory.job(retries=3)  # wrong
async def misspelt(job: JobContext[Restock]) -> None: ...


@inventory.job(replay_from="start")  # wrong
async def from_the_start(job: JobContext[Restock]) -> None: ...


@inventory.job(triggers=[Trigger(StockLow, map=lambda e: Other(sku=e.sku))])  # wrong
async def of_another(job: JobContext[Restock]) -> None: ...


@inventory.job(triggers=[Trigger(StockGone, map=lambda e: Restock(sku=e.name))])  # wrong
async def of_no_field(job: JobContext[Restock]) -> None: ...


@inventory.every("0 6 * * *")  # wrong
@inventory.job()
async def without_input(job: JobContext[Restock]) -> None: ...


@inventory.every("0 6 * * *", input=Other(sku="A-1"))  # wrong
@inventory.job()
async def of_another_input(job: JobContext[Restock]) -> None: ...


@inventory.every("0 6 * * *")  # wrong
async def bare_without_input(job: JobContext[Restock]) -> None: ...


@inventory.every("0 6 * * *", missed="none")  # wrong
async def missed_none(job: JobContext[None]) -> None: ...


@inventory.every(300)  # wrong
async def in_seconds(job: JobContext[None]) -> None: ...


class Needy:
    def __init__(self, url: str) -> None: ...

    async def run(self, job: JobContext[Restock]) -> None: ...


inventory.job()(Needy)  # wrong
Trigger(StockLow, map=lambda e: Restock(sku=e.name))  # wrong
Trigger(StockLow, map=lambda e: Restock(sku=e.sku), when=lambda e: e.gone)  # wrong
Trigger(StockLow, maps=lambda e: Restock(sku=e.sku))  # wrong
Concurrency(key=lambda j: 7)  # wrong
Concurrency(limits=2)  # wrong
Concurrency(on_collision="wait")  # wrong
Dedupe(until="done")  # wrong
RateLimit(100)  # wrong


@inventory.job()
async def wrong_inside(job: JobContext[Restock]) -> None:
    job.input = Restock(sku="A-1")  # wrong
    print(job.input.name)  # wrong
    await job.step(fetch_quote, "A-1")  # wrong
    text: str = await job.step("quote", fetch_quote, "A-1")  # wrong
    await job.spawn(restock, Other(sku="A-1"))  # wrong
    await job.spawn(restock, Restock(sku="A-1"), on_parent_close="stop")  # wrong
    await job.wait_for(Restock)  # wrong
    await job.sleep("1 h")  # wrong
    print(text)
