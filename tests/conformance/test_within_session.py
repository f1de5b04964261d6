"""``drain_once(session=...)``: handlers inside a test's own transaction, of which nothing stays."""

from uuid import uuid4

import pytest
from sqlalchemy import text

from fastapi_events import (
    Delivery,
    EventPublisher,
    HandlerSession,
    JobClient,
    JobContext,
    Module,
    Retry,
    RetryLater,
    Trigger,
    fixed,
)
from fastapi_events.errors import SettingsError
from tests.conformance.backends import Backend, effect
from tests.delivery.stage import Pinged, Placed, Shipped


async def written(session: object) -> list[tuple[str, int]]:
    rows = await (await session.connection()).execute(text("SELECT handler, number FROM effect ORDER BY number"))  # type: ignore[attr-defined]  # of either kind
    return [(row[0], row[1]) for row in rows]


def shop(seen: list[str]) -> Module:
    module = Module("shop")

    @module.on(Placed, id="place")
    async def place(event: Placed, session: HandlerSession, publish: EventPublisher, delivery: Delivery) -> None:
        await effect(session, "place", event.number)
        await publish(Shipped(order=event.order, number=event.number))
        if event.number < 0:
            raise KeyError(event.number)
        seen.append(f"placed {event.number}")

    @module.on(Shipped, id="ship")
    async def ship(event: Shipped, publish: EventPublisher) -> None:
        seen.append(f"shipped {event.number}")
        await publish(Pinged(number=event.number))

    @module.on(Pinged, id="ping")
    def ping(event: Pinged) -> None:
        seen.append(f"pinged {event.number}")

    return module


async def test_handlers_run_inside_the_transaction_and_nothing_stays(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(shop(seen))
    async with events.session() as session:
        await effect(session, "test", 0)
        publisher = events.publisher(session)
        await publisher(Placed(order="a", number=1))
        await publisher(Placed(order="a", number=2), event_id=uuid4())
        await publisher(Pinged(number=9))
        assert await events.drain_once(session=session) == 7
        assert sorted(seen) == [
            "pinged 1", "pinged 2", "pinged 9", "placed 1", "placed 2", "shipped 1", "shipped 2",
        ]  # fmt: skip
        assert await written(session) == [("test", 0), ("place", 1), ("place", 2)]
        await session.rollback()
    seen.clear()
    await events.drain_once()
    assert (seen, await backend.effects(events)) == ([], [])
    assert (await events.observe.events()).events == ()


async def test_what_has_been_handled_is_not_handled_again(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(shop(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Pinged(number=1))
        assert await events.drain_once(session=session) == 1
        assert await events.drain_once(session=session) == 0
        await publisher(Pinged(number=2))
        assert await events.drain_once(session=session) == 1
    assert seen == ["pinged 1", "pinged 2"]


async def test_failures_are_raised_and_undone(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(shop(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher.many([Placed(order="a", number=-1), Placed(order="b", number=2), Placed(order="a", number=3)])
        with pytest.raises(KeyError) as caught:
            await events.drain_once(session=session)
        assert "place" in caught.value.__notes__[0]
        assert await written(session) == [("place", 2)]
        assert "placed 3" not in seen  # it waits behind the one that failed
        await publisher.many([Placed(order="c", number=-4), Placed(order="d", number=-5)])
        with pytest.raises(ExceptionGroup) as several:
            await events.drain_once(session=session)
        assert [type(error) for error in several.value.exceptions] == [KeyError, KeyError]
        await session.rollback()
    assert (await events.observe.dead_letters()).matching == 0


async def test_nothing_is_tried_again(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, retry=Retry(5, backoff=fixed(0)))
    async def busy(event: Placed, delivery: Delivery) -> None:
        seen.append(delivery.attempt)
        raise RetryLater(1)

    events = await backend.idle(module)
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a"))
        with pytest.raises(RetryLater):
            await events.drain_once(session=session)
    assert seen == [1]


async def test_a_session_joined_to_a_tests_transaction_commits_into_it(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(shop(seen))
    async with events.session() as outer:
        connection = await outer.connection()
        maker = type(outer)
        async with maker(bind=connection, join_transaction_mode="create_savepoint") as session:
            await effect(session, "endpoint", 0)
            await events.publisher(session)(Placed(order="a", number=1))
            await session.commit()
            await events.drain_once(session=session)
            assert await written(session) == [("endpoint", 0), ("place", 1)]
        await outer.rollback()
    assert (await events.drain_once(), await backend.effects(events)) == (0, [])
    assert seen == ["placed 1", "shipped 1", "pinged 1"]


async def test_an_idempotency_key_holds_within_the_transaction(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed, idempotency_key=lambda event: event.order)
    async def once(event: Placed, session: HandlerSession) -> None:
        seen.append(event.number)

    events = await backend.idle(module)
    async with events.session() as session:
        await events.publisher(session).many([Placed(order="a", number=1), Placed(order="a", number=2)])
        await events.drain_once(session=session)
    assert seen == [1]


async def test_what_is_scheduled_waits(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(shop(seen))
    async with events.session() as session:
        await events.publisher(session)(Pinged(number=1), delay=60)
        assert await events.drain_once(session=session) == 0
    assert seen == []


async def test_what_is_no_session_is_refused(backend: Backend) -> None:
    events = await backend.idle()
    with pytest.raises(SettingsError, match="AsyncSession or Session"):
        await events.drain_once(session="session")


async def test_jobs_are_started_and_not_run(backend: Backend) -> None:
    module, seen = Module("shop"), list[str]()

    @module.job(triggers=[Trigger(Placed, map=lambda event: f"triggered {event.number}")])
    async def restock(job: JobContext[str]) -> None:
        seen.append(job.input)

    @module.on(Placed)
    async def place(event: Placed, session: HandlerSession, jobs: JobClient) -> None:
        await jobs.start(restock, f"started {event.number}")

    events = await backend.idle(module)
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a", number=1))
        await events.job_client(session).start(restock, "with the session")
        assert await events.drain_once(session=session) == 1
        await session.rollback()
    await events.drain_once()
    assert (seen, (await events.jobs.list()).runs) == ([], [])
