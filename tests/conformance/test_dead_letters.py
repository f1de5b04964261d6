"""Dead letters: what they keep waiting, and what an operator makes of them."""

from datetime import UTC, datetime, timedelta

import pytest

from fastapi_events import Delivery, HandlerSession, Module, Retry
from fastapi_events.errors import OperationRefused
from tests.conformance.backends import Backend, effect, publish
from tests.delivery.stage import Placed


class Shop:
    """A module whose handler dies of the numbers in ``broken``."""

    def __init__(self, **options: object) -> None:
        self.module, self.seen, self.broken = Module("shop"), list[tuple[int, int]](), set[int]()

        @self.module.on(Placed, id="sell", retry=Retry(1), **options)  # type: ignore[arg-type]  # any option
        async def sell(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
            await effect(session, "sell", event.number)
            if event.number in self.broken:
                raise RuntimeError(f"number {event.number}")
            self.seen.append((event.number, delivery.attempt))

    def sold(self) -> list[int]:
        return [number for number, _ in self.seen]


async def test_a_dead_event_keeps_its_key_and_no_other(backend: Backend) -> None:
    shop = Shop()
    shop.broken = {1}
    events = await backend.idle(shop.module)
    await publish(events, *(Placed(order="a", number=number) for number in (1, 2)), Placed(order="b", number=3))
    await events.drain_once()
    await publish(events, Placed(order="a", number=4), Placed(order="b", number=5))
    await backend.later(86_400)
    await events.drain_once()
    assert shop.sold() == [3, 5]
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.handler, dead.behind, dead.position) == ("sell", 2, dead.position)


async def test_a_redrive_runs_the_head_and_then_its_followers(backend: Backend) -> None:
    shop = Shop()
    shop.broken = {1}
    events = await backend.idle(shop.module)
    await publish(events, *(Placed(order="a", number=number) for number in (1, 2, 3)))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    shop.broken.clear()
    changed = await events.operations.redrive([dead.id], actor="ann")
    assert (changed.asked, changed.changed) == (1, 1)
    await publish(events, Placed(order="a", number=4))
    await events.drain_once()
    assert shop.seen == [(1, 1), (2, 1), (3, 1), (4, 1)]
    assert await backend.effects(events) == [("sell", number) for number in (1, 2, 3, 4)]
    assert (await events.observe.dead_letters()).matching == 0


async def test_a_redriven_event_may_die_again(backend: Backend) -> None:
    shop = Shop()
    shop.broken = {1}
    events = await backend.idle(shop.module)
    await publish(events, Placed(order="a", number=1), Placed(order="a", number=2))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    await events.operations.redrive([dead.id], actor="ann")
    await events.drain_once()
    [again] = (await events.observe.dead_letters()).dead_letters
    assert (again.id, again.redrives, again.attempts, shop.sold()) == (dead.id, 1, 2, [])


async def test_a_discarded_head_lets_its_followers_go_on(backend: Backend) -> None:
    shop = Shop()
    shop.broken = {1}
    events = await backend.idle(shop.module)
    await publish(events, *(Placed(order="a", number=number) for number in (1, 2)))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    await events.operations.discard([dead.id], actor="ann", reason="a test order")
    await events.drain_once()
    assert shop.sold() == [2]
    found = await events.observe.delivery(dead.id)
    assert found is not None
    assert (found.state, found.note) == ("discarded", "a test order")


async def test_two_dead_events_of_a_key_are_two_that_hold_it(backend: Backend) -> None:
    shop = Shop()
    shop.broken = {1, 2}
    events = await backend.idle(shop.module)
    await publish(events, *(Placed(order="a", number=number) for number in (1, 2, 3)))
    await events.drain_once()
    [first] = (await events.observe.dead_letters()).dead_letters
    await events.operations.discard([first.id], actor="ann", reason="gone")
    await events.drain_once()
    [second] = (await events.observe.dead_letters()).dead_letters
    assert shop.sold() == []
    shop.broken.clear()
    await events.operations.redrive([second.id], actor="ann")
    await events.drain_once()
    assert shop.sold() == [2, 3]


async def test_with_continue_followers_pass_a_dead_event(backend: Backend) -> None:
    shop = Shop(on_dead="continue")
    shop.broken = {1}
    events = await backend.idle(shop.module)
    await publish(events, *(Placed(order="a", number=number) for number in (1, 2)))
    await events.drain_once()
    assert shop.sold() == [2]
    [dead] = (await events.observe.dead_letters()).dead_letters
    shop.broken.clear()
    await events.operations.redrive([dead.id], actor="ann")
    await events.drain_once()
    assert shop.sold() == [2, 1]


async def test_dead_letters_are_found_and_changed_by_what_they_have_in_common(backend: Backend) -> None:
    shop = Shop()
    shop.broken = {1, 2}
    events = await backend.idle(shop.module)
    await publish(events, Placed(order="a", number=1), Placed(order="b", number=2))
    await events.drain_once()
    page = await events.observe.dead_letters("handler:sell name:shop.order.placed")
    assert page.matching == 2
    assert (await events.observe.dead_letters("handler:other")).matching == 0
    shop.broken.clear()
    with pytest.raises(OperationRefused, match=r"no handler 'sel'. Did you mean 'sell'\?"):
        await events.operations.redrive_matching(handler="sel", changed_before=datetime.now(UTC), actor="ann")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    assert not (await events.operations.redrive_matching(handler="sell", changed_before=long_ago, actor="a")).asked
    late = datetime.now(UTC) + timedelta(hours=1)
    changed = await events.operations.redrive_matching(handler="sell", changed_before=late, actor="ann")
    assert changed.changed == 2
    await events.drain_once()
    assert sorted(shop.sold()) == [1, 2]


async def test_operators_are_refused_and_recorded_alike(backend: Backend) -> None:
    shop = Shop()
    shop.broken = {1}
    events = await backend.idle(shop.module)
    await publish(events, Placed(order="a", number=1))
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    with pytest.raises(OperationRefused):
        await events.operations.discard([dead.id], actor="ann", reason=" ")
    with pytest.raises(OperationRefused):
        await events.operations.redrive([dead.id], actor="")
    await events.operations.redrive([dead.id], actor="ann", reason="mended")
    second = await events.operations.redrive([dead.id], actor="bob")
    assert (second.asked, second.changed) == (1, 0)
    actions = [(one.action, one.actor, one.details["reason"]) for one in await events.operations.actions()]
    assert actions == [("redrive", "bob", ""), ("redrive", "ann", "mended")]


async def test_a_payload_that_no_class_reads_is_dead_by_itself(backend: Backend) -> None:
    module, seen = Module("shop"), list[int]()

    @module.on(Placed)
    async def note(event: Placed) -> None:
        seen.append(event.number)

    events = await backend.idle(module)
    async with events.session() as session:
        publisher = events.publisher(session)
        await publisher.raw("shop.order.placed", {"order": ["no", "text"]}, aggregate_id="a")
        await publisher(Placed(order="b", number=2))
        await session.commit()
    await events.drain_once()
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.reason, dead.attempts, seen) == ("invalid_payload", 1, [2])
