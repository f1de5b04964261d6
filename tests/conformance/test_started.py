"""Assertions about which runs have been started, on both back ends."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from fastapi_events import Dedupe, Events, HandlerSession, JobClient, JobContext, Module, Secret, Trigger
from fastapi_events.errors import InvalidInput, NotStarted, UnknownJob, UnknownOption
from fastapi_events.testing import StartedRuns, services
from tests.conformance.backends import Backend
from tests.delivery.stage import Placed


class Restock(BaseModel):
    """What is to be restocked."""

    sku: str
    quantity: int = 1
    supplier_pin: str = "0000"
    iban: Annotated[str, Secret] = "DE00"


@dataclass
class Reminder:
    to: str


class Row(TypedDict):
    line: int


class Shop:
    def __init__(self) -> None:
        self.module = Module("shop")

        @self.module.job(triggers=[Trigger(Placed, map=lambda event: Restock(sku=event.order, quantity=event.number))])
        async def restock(job: JobContext[Restock]) -> None:
            await job.spawn(remind, Reminder(to=job.input.sku), on_parent_close="abandon")

        @self.module.job()
        async def remind(job: JobContext[Reminder]) -> None:
            return None

        @self.module.job(dedupe=Dedupe())
        async def load(job: JobContext[Row]) -> None:
            return None

        @self.module.job()
        async def note(job: JobContext[str]) -> None:
            return None

        @self.module.on(Placed, id="shop.place")
        async def place(event: Placed, session: HandlerSession, jobs: JobClient) -> None:
            await jobs.start(note, event.order, tags=["placed"], scope=("order", event.order))

        self.restock, self.remind, self.load, self.note = restock, remind, load, note


async def test_runs_are_found_by_job_input_and_fields(backend: Backend) -> None:
    shop = Shop()
    events = await backend.idle(shop.module)
    runs = StartedRuns(events)
    first = await events.jobs.start(shop.restock, Restock(sku="a", quantity=2), priority=3)
    await events.jobs.start(shop.restock, Restock(sku="b"), delay=60)
    await events.jobs.start(shop.remind, Reminder(to="ann"))
    await events.jobs.start(shop.load, {"line": 1})
    found = await runs.one(shop.restock, sku="a")
    assert (found.id, found.input, found.job) == (first.run, Restock(sku="a", quantity=2), "shop.restock")
    assert (found.state, found.source, found.priority, found.due_at, found.parent_id) == (
        "pending", "manual", 3, None, None,
    )  # fmt: skip
    assert await runs.one(shop.restock, Restock(sku="a", quantity=2)) == found
    assert [one.input.sku for one in await runs.all(shop.restock)] == ["a", "b"]
    assert (await runs.one(shop.restock, where=lambda given: given.quantity == 1)).due_at is not None
    assert (await runs.one(shop.remind, to="ann")).input == Reminder(to="ann")
    assert (await runs.one(shop.load, line=1)).input == {"line": 1}
    await runs.none(shop.restock, Restock(sku="c"))
    await runs.none(shop.note)
    await events.drain_once()
    assert (await runs.one(shop.restock, sku="a")).state == "completed"
    child = await runs.one(shop.remind, Reminder(to="a"))
    assert (child.source, child.parent_id, child.state) == ("parent", first.run, "completed")
    assert [one.job for one in await runs.everything()] == [
        "shop.restock", "shop.restock", "shop.remind", "shop.load", "shop.remind",
    ]  # fmt: skip


async def test_what_handlers_and_triggers_start_is_there_after_them(backend: Backend) -> None:
    shop = Shop()
    events = await backend.idle(shop.module)
    runs = StartedRuns(events)
    await events.publish(Placed(order="a", number=7), tenant_id="acme")
    await runs.none(shop.note)
    await events.drain_once()
    noted = await runs.one(shop.note, "a")
    assert (noted.tags, noted.scope, noted.tenant_id) == (("placed",), ("order", "a"), "acme")
    assert (await runs.one(shop.restock, sku="a", quantity=7)).source == "event"


async def test_an_open_session_tells_what_it_has_started(backend: Backend) -> None:
    shop = Shop()
    events = await backend.idle(shop.module)
    runs, moment = StartedRuns(events), datetime.now(UTC) + timedelta(hours=1)
    async with events.session() as session:
        jobs = events.job_client(session)
        await jobs.start(shop.note, "a", run_at=moment)
        await jobs.start(shop.load, {"line": 1})  # asks the database at once
        await jobs.start(shop.load, {"line": 1})
        async with session.begin_nested() as savepoint:
            await jobs.start(shop.note, "b")
            await runs(session).one(shop.note, "b")
            await savepoint.rollback()
        found = await runs(session).one(shop.note)
        assert (found.input, found.state, found.due_at) == ("a", None, moment)
        await runs(session).one(shop.load, line=1)
        await runs.none(shop.note)
        with pytest.raises(AssertionError, match="uncommitted: 'a'"):
            await runs(session).none(shop.note)
        await session.commit()
        await runs(session).none(shop.note)
    assert (await runs.one(shop.note)).id == found.id
    with pytest.raises(TypeError, match=r"started\(\.\.\.\) takes the session"):
        runs("session")


async def test_a_failed_assertion_says_what_there_was_without_secrets(backend: Backend) -> None:
    shop = Shop()
    events = await backend.idle(shop.module)
    runs = StartedRuns(events)
    await events.jobs.start(shop.restock, Restock(sku="a", supplier_pin="4711", iban="DE99"))
    await events.jobs.start(shop.note, "x")
    with pytest.raises(AssertionError) as caught:
        await runs.one(shop.restock, sku="b", iban="DE77")
    assert str(caught.value) == (
        "shop.restock, sku='b', iban=••••••: exactly one expected, none started.\n"
        "Of shop.restock there is 1 run:\n"
        "  pending: sku='a' (not 'b'), iban=•••••• (not ••••••), quantity=1, supplier_pin=••••••\n"
        "Other jobs: shop.note (1)."
    )
    with pytest.raises(AssertionError) as caught:
        await runs.one(shop.note, "y")
    assert str(caught.value).startswith(
        "shop.note, 'y': exactly one expected, none started.\nOf shop.note there is 1 run:\n  pending: 'x' (not 'y')\n"
    )
    with pytest.raises(AssertionError, match=r"shop\.remind has no run\."):
        await runs.one(shop.remind)
    with pytest.raises(AssertionError, match=r"^shop\.restock, where=\.\.\.: none expected, 1 started\."):
        await runs.none(shop.restock, where=lambda given: given.sku == "a")


async def test_misuse_is_named(backend: Backend) -> None:
    shop = Shop()
    events = await backend.idle(shop.module)
    runs, wrong = StartedRuns(events), Module("other")

    @wrong.job()
    async def stray(job: JobContext[None]) -> None:
        return None

    given: Any = "a"
    function: Any = shop.note.function
    with pytest.raises(UnknownJob, match=r"other\.stray"):
        await runs.none(stray)
    with pytest.raises(InvalidInput):
        await runs.none(shop.restock, given)
    with pytest.raises(UnknownOption, match=r"has no field 'skuu' to compare\. Did you mean 'sku'\?"):
        await runs.none(shop.restock, skuu="a")
    with pytest.raises(UnknownOption, match=r"is str, which has no fields to compare\. Give the input itself"):
        await runs.none(shop.note, text="a")
    with pytest.raises(TypeError, match=r"take a job, which is what @module\.job\(\) makes"):
        await runs.none(function)


async def test_more_runs_than_are_read_at_once(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "PAGE", 2)
    shop = Shop()
    events = await backend.idle(shop.module)
    await events.jobs.start_many(shop.note, [str(number) for number in range(5)])
    assert [one.input for one in await StartedRuns(events).all(shop.note)] == ["0", "1", "2", "3", "4"]


async def test_an_instance_that_is_not_started_says_so() -> None:
    with pytest.raises(NotStarted):
        await StartedRuns(Events([Shop().module])).everything()
