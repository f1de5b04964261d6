"""What is published becomes true with the transaction, or not at all."""

from uuid import UUID, uuid4

import pytest

from fastapi_events import Delivery, Event, EventPublisher, Events, Module
from fastapi_events.errors import DetachedPublish, InvalidPayload, NotInTransaction, PublishError, UnknownEvent
from tests.conformance.backends import Backend, publish
from tests.delivery.stage import Pinged, Placed, collecting


@pytest.fixture
def seen() -> list[int]:
    return []


async def test_an_event_is_handled_once_its_transaction_is_committed(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a", number=1))
        await events.drain_once()
        assert seen == []
        await session.commit()
    await events.drain_once()
    assert seen == [1]


async def test_a_rollback_drops_what_was_published(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a", number=1))
        await session.rollback()
        await events.publisher(session)(Placed(order="a", number=2))
        await session.commit()
    await events.drain_once()
    assert seen == [2]


async def test_a_savepoint_that_is_rolled_back_drops_its_events_alone(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Placed(order="a", number=1))
        savepoint = await session.begin_nested()
        await publisher(Placed(order="a", number=2))
        await savepoint.rollback()
        async with session.begin_nested():
            await publisher(Placed(order="a", number=3))
        await session.commit()
    await events.drain_once()
    assert seen == [1, 3]


async def test_a_savepoint_drops_what_was_written_at_once_too(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Placed(order="a", number=1), event_id=uuid4())
        savepoint = await session.begin_nested()
        await publisher(Placed(order="a", number=2), event_id=uuid4())
        inner = await session.begin_nested()
        await publisher(Placed(order="a", number=3), event_id=uuid4())
        await inner.commit()
        await savepoint.rollback()
        await publisher(Placed(order="a", number=4), event_id=uuid4())
        await session.commit()
    await events.drain_once()
    assert seen == [1, 4]


async def test_several_commits_of_a_session_each_carry_their_own(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        for number in (1, 2):
            await publisher(Placed(order="a", number=number))
            await session.commit()
        await publisher(Placed(order="a", number=3))
        await session.rollback()
    await events.drain_once()
    assert seen == [1, 2]


async def test_a_connection_carries_events_with_its_commit(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        connection = await session.connection()
        published = await events.publisher(connection)(Placed(order="a", number=1))  # type: ignore[arg-type]  # as users may
        assert not published.duplicate
        await events.drain_once()
        assert seen == []
        await connection.commit()
    await events.drain_once()
    assert seen == [1]


async def test_events_of_one_transaction_keep_their_order(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Placed(order="a", number=1))
        await publisher.many([Placed(order="a", number=2), Placed(order="a", number=3)])
        await publisher(Placed(order="a", number=4), event_id=uuid4())
        await publisher(Placed(order="a", number=5))
        await session.commit()
    await events.drain_once()
    assert seen == [1, 2, 3, 4, 5]


async def test_a_given_id_is_published_once(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    given = uuid4()
    first = await events.publish(Placed(order="a", number=1), event_id=given)
    async with events.session() as session:
        second = await events.publisher(session)(Placed(order="a", number=2), event_id=given)
        await session.commit()
    assert (first.event_id, first.duplicate, second.event_id, second.duplicate) == (given, False, given, True)
    await events.drain_once()
    assert seen == [1]


async def test_a_given_id_is_seen_within_its_own_transaction(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    given = uuid4()
    async with events.session() as session:
        publisher = events.publisher(session)
        answers = await publisher.many([Placed(order="a", number=1), Placed(order="a", number=2)])
        once = await publisher(Placed(order="a", number=3), event_id=given)
        twice = await publisher(Placed(order="a", number=4), event_id=given)
        await session.commit()
    assert [answer.duplicate for answer in (*answers, once, twice)] == [False, False, False, True]
    await events.drain_once()
    assert seen == [1, 2, 3]


async def test_the_id_of_a_transaction_that_was_rolled_back_is_free_again(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    given = uuid4()
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher(Placed(order="a", number=1), event_id=given)
        await session.rollback()
        assert not (await publisher(Placed(order="a", number=2), event_id=given)).duplicate
        await session.commit()
    await events.drain_once()
    assert seen == [2]


async def test_a_detached_publish_commits_by_itself(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    published = await events.publish(Placed(order="a", number=1))
    assert isinstance(published.event_id, UUID)
    await events.drain_once()
    assert seen == [1]


async def test_a_handler_publishes_detached_only_if_it_says_so(backend: Backend, seen: list[int]) -> None:
    module, found = collecting(seen), list[Events]()

    @module.on(Placed, id="careless")
    async def careless(event: Placed) -> None:
        with pytest.raises(DetachedPublish):
            await found[0].publish(Pinged(number=10))
        await found[0].publish(Pinged(number=11), detached=True)

    events = await backend.idle(module)
    found.append(events)
    await events.publish(Placed(order="a", number=1))
    await events.drain_once()
    assert seen == [1, 11]


async def test_a_raw_event_reaches_who_selects_its_name(backend: Backend) -> None:
    module, seen = Module("shop"), list[tuple[str, str | None]]()

    @module.on("shop.*")
    async def anything(event: object, delivery: Delivery) -> None:
        seen.append((delivery.name, delivery.tenant_id))

    events = await backend.idle(module)
    async with events.session() as session:
        await events.publisher(session).raw("shop.cart.filled", {"items": [1, 2]}, aggregate_id="7", tenant_id="acme")
        await session.commit()
    await events.drain_once()
    assert seen == [("shop.cart.filled", "acme")]


async def test_refusals_come_before_anything_is_written(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen), max_payload_size=1000, warn_payload_size=1000)
    async with events.session() as session:
        publisher = events.publisher(session)
        with pytest.raises(InvalidPayload):
            await publisher(Placed(order="nul \x00", number=1))
        with pytest.raises(InvalidPayload):
            await publisher(Placed(order="x" * 2000, number=1))
        with pytest.raises(InvalidPayload):
            await publisher.many([Placed(order="a", number=1), Placed(order="x" * 2000)])
        with pytest.raises(PublishError):
            await publisher("no event")  # type: ignore[arg-type]  # that is the point
        await session.commit()
    await events.drain_once()
    assert seen == []


async def test_an_unknown_event_is_refused(backend: Backend, seen: list[int]) -> None:
    class Abstract(Event):
        number: int

    events = await backend.idle(collecting(seen))
    with pytest.raises(UnknownEvent):
        await events.publish(Abstract(number=1))


async def test_autocommit_is_no_transaction(backend: Backend, seen: list[int]) -> None:
    events = await backend.idle(collecting(seen))
    async with events.session() as session:
        connection = await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        with pytest.raises(NotInTransaction):
            await events.publisher(connection)(Placed(order="a"))  # type: ignore[arg-type]  # as users may


async def test_a_handlers_publisher_is_of_its_attempt(backend: Backend, seen: list[int]) -> None:
    module = collecting(seen)

    @module.on(Placed, id="telling")
    async def telling(event: Placed, publish: EventPublisher) -> None:
        await publish.many([Pinged(number=10), Pinged(number=11)])

    events = await backend.idle(module)
    await publish(events, Placed(order="a", number=1))
    await events.drain_once()
    assert sorted(seen) == [1, 10, 11]
