"""Circuit breakers: a handler that only fails is left alone, in every process, and tried again now and then."""

import asyncio
from typing import Any

import asyncpg
import pytest

from fastapi_events import Breaker, Delivery, Discard, Events, HandlerSession, Module, Retry, fixed
from tests.delivery.stage import SLOW, Pinged, Placed, Stage, effect, publish, until, within

PROBE_NOW = "UPDATE events.breaker SET probe_at = clock_timestamp() - interval '1 s' WHERE opened_at IS NOT NULL"


class Outage:
    """A service that a handler depends on, and that fails until it is mended."""

    def __init__(self) -> None:
        self.down, self.calls = True, list[int]()


class Refused(Exception):
    """What the handler's service says."""


def shop(outage: Outage, done: list[Any], **options: Any) -> Module:
    module = Module("shop")
    options = {"breaker": Breaker(3, recovery=3600), "retry": Retry(3, fixed(0)), **options}

    @module.on(Placed, id="shop.fragile", **options)
    async def fragile(event: Placed) -> None:
        outage.calls.append(event.number)
        if outage.down:
            raise Refused("no answer")
        done.append((event.order, event.number))

    @module.on(Placed, id="shop.sound")
    async def sound(event: Placed) -> None: ...

    return module


async def states(stage: Stage) -> dict[tuple[str, str], int]:
    rows = await stage.rows("SELECT state, reason, count(*) AS n FROM events.delivery GROUP BY 1, 2")
    return {(row["state"], row["reason"]): row["n"] for row in rows}


async def is_open(stage: Stage) -> bool:
    return bool(await stage.value("SELECT opened_at IS NOT NULL FROM events.breaker"))


async def probe(stage: Stage, events: Events) -> None:
    await stage.rows(PROBE_NOW)
    await within(events.drain_once())


async def test_a_handler_that_only_fails_is_called_no_more_and_nothing_dies(stage: Stage) -> None:
    outage, done = Outage(), list[Any]()
    events = await stage.idle(shop(outage, done), concurrency={"events_change": 1}, lanes=["change"])
    await publish(events, [Placed(order=str(number % 7), number=number) for number in range(40)])
    await within(events.drain_once())
    assert len(outage.calls) == 3
    assert await is_open(stage)
    assert sum(n for (state, _), n in (await states(stage)).items() if state == "waiting") == 40
    assert await stage.deliveries("dead") == []
    assert ("waiting", "breaker_open") in await states(stage)

    for tried in range(1, 6):  # more often than the handler may be retried
        await probe(stage, events)
        assert len(outage.calls) == 3 + tried
    assert await stage.deliveries("dead") == []

    outage.down = False
    await probe(stage, events)
    assert not await is_open(stage)
    assert sorted(done) == sorted((str(number % 7), number) for number in range(40))
    for order in map(str, range(7)):
        numbers = [number for key, number in done if key == order]
        assert numbers == sorted(numbers)
    assert {row["state"] for row in await stage.deliveries()} == {"done"}


async def test_successes_in_between_keep_it_closed(stage: Stage) -> None:
    module, calls = Module("shop"), []

    @module.on(Placed, breaker=Breaker(3), retry=Retry(1))
    async def handle(event: Placed) -> None:
        calls.append(event.number)
        if event.number % 3:
            raise ValueError("a bad event")

    events = await stage.idle(module)
    for number in range(12):
        await events.publish(Placed(order=str(number), number=number))
        await within(events.drain_once())
    assert len(calls) == 12
    assert not await is_open(stage)


async def test_failures_further_apart_than_the_window_keep_it_closed(stage: Stage) -> None:
    outage = Outage()
    events = await stage.idle(shop(outage, [], breaker=Breaker(3, window=60), retry=Retry(1)))
    for number in range(4):
        await events.publish(Placed(order=str(number), number=number))
        await within(events.drain_once())
        await stage.rows(
            "UPDATE events.breaker SET failures = ARRAY(SELECT f - interval '61 s' FROM unnest(failures) f)"
        )
        for handler in events.runtime.plan.handlers.values():
            handler.failed_at.clear()  # the window of this process, as that of the database
    assert not await is_open(stage)


@pytest.mark.parametrize("what", ["discard", "unreadable", "infrastructure"])
async def test_what_is_no_failure_of_the_handler_opens_nothing(stage: Stage, what: str) -> None:
    module = Module("shop")

    @module.on(Placed, breaker=Breaker(1))
    async def handle(event: Placed) -> None:
        if what == "discard":
            raise Discard("not wanted")
        raise asyncpg.ConnectionDoesNotExistError("the database is away")

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    if what == "unreadable":
        await stage.rows("UPDATE events.event SET payload = '{}'")
    await within(events.drain_once())
    assert await stage.rows("SELECT * FROM events.breaker") == []


async def test_a_time_out_is_a_failure(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, breaker=Breaker(1), timeout=0.05, retry=Retry(1))
    async def handle(event: Placed) -> None:
        await asyncio.Event().wait()

    events = await stage.idle(module)
    await events.publish(Placed(order="a"))
    await within(events.drain_once())
    assert await is_open(stage)


async def test_breaker_false_is_none(stage: Stage) -> None:
    outage = Outage()
    events = await stage.idle(shop(outage, [], breaker=False), breaker_threshold=1)
    await publish(events, [Placed(order=str(number), number=number) for number in range(5)])
    await within(events.drain_once())
    assert len(outage.calls) == 15
    assert len(await stage.deliveries("dead")) == 5


async def test_it_holds_in_every_process(stage: Stage) -> None:
    outage, done = Outage(), list[Any]()
    events = await stage.idle(shop(outage, done))
    await publish(events, [Placed(order=str(number), number=number) for number in range(3)])
    await within(events.drain_once())
    calls = len(outage.calls)
    assert await is_open(stage)
    late = await stage.idle(shop(outage, done))
    await publish(late, [Placed(order="late", number=9)])
    await within(late.drain_once())
    assert len(outage.calls) == calls
    outage.down = False
    await probe(stage, late)
    await until(lambda: not events.runtime.gates.closed, "the news that the breaker is closed")
    await publish(events, [Placed(order="new", number=10)])
    await within(events.drain_once())
    assert ("new", 10) in done
    assert len(done) == 5


async def test_a_process_that_has_not_heard_of_it_takes_no_parked_event(stage: Stage) -> None:
    outage = Outage()
    deaf = await stage.idle(shop(outage, []), heartbeat=2.0, listen_database_url=None)
    events = await stage.idle(shop(outage, []))
    await publish(events, [Placed(order=str(number), number=number) for number in range(3)])
    await within(events.drain_once())
    calls = len(outage.calls)
    deaf.runtime.gates.closed.clear()
    assert deaf.runtime.redelivery is None
    await within(deaf.drain_once())
    assert len(outage.calls) == calls


async def test_only_one_process_probes(stage: Stage) -> None:
    outage = Outage()
    first = await stage.idle(shop(outage, []))
    second = await stage.idle(shop(outage, []))
    await publish(first, [Placed(order=str(number), number=number) for number in range(6)])
    await within(first.drain_once())
    await until(lambda: second.runtime.gates.closed)
    calls = len(outage.calls)
    await stage.rows(PROBE_NOW)
    await within(asyncio.gather(first.drain_once(), second.drain_once()))
    assert len(outage.calls) == calls + 1


async def test_the_probe_comes_by_itself(stage: Stage) -> None:
    outage, done = Outage(), list[Any]()
    events = await stage.running(shop(outage, done, breaker=Breaker(1, recovery=0.1)), **SLOW)
    await publish(events, [Placed(order="a", number=number) for number in range(3)])
    await until(lambda: len(outage.calls) >= 3)
    outage.down = False
    await until(lambda: done == [("a", 0), ("a", 1), ("a", 2)])


async def test_it_is_told_to_operators(stage: Stage) -> None:
    events = await stage.idle(shop(Outage(), []))
    await publish(events, [Placed(order=str(number), number=number) for number in range(3)])
    await within(events.drain_once())
    await events.operations.pause(handler="shop.sound", actor="me")
    await events.operations.pause(lane="inbound", actor="me")
    overview = await events.observe.overview()
    by_name = {view.name: view for view in overview.handlers}
    assert by_name["shop.fragile"].breaker_opened_at
    assert by_name["shop.sound"].paused_at
    said = [concern.what for concern in overview.concerns]
    assert "shop.fragile only fails" in said
    assert "shop.sound is paused" in said
    assert [lane.lane for lane in overview.lanes if lane.paused] == ["inbound"]


async def test_an_operator_closes_it(stage: Stage) -> None:
    outage, done = Outage(), list[Any]()
    events = await stage.running(shop(outage, done), **SLOW)
    await publish(events, [Placed(order=str(number), number=number) for number in range(3)])
    await until(lambda: is_open(stage))
    outage.down = False
    assert await events.operations.reset_breaker("shop.fragile", actor="me", reason="mended")
    await until(lambda: len(done) == 3)
    assert not await events.operations.reset_breaker("shop.fragile", actor="me")
    actions = await events.operations.actions()
    assert [(action.action, action.target) for action in actions] == [("reset_breaker", "shop.fragile")] * 2


async def test_a_transactional_handler_is_effectively_once_through_it(stage: Stage) -> None:
    module, down, calls = Module("shop"), [True], []

    @module.on(Placed, breaker=Breaker(2, recovery=3600), retry=Retry(3, fixed(0)))
    async def handle(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
        calls.append(event.number)
        await effect(session, "handle", event.number)
        if down:
            raise Refused("no answer")

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=number) for number in range(10)])
    await within(events.drain_once())
    for _ in range(4):
        await probe(stage, events)
    down.clear()
    await probe(stage, events)
    assert await stage.value("SELECT array_agg(number ORDER BY number) FROM effect") == list(range(10))
    assert await stage.value("SELECT count(*) FROM events.delivery WHERE state <> 'done'") == 0


async def test_a_success_of_an_attempt_from_before_closes_nothing(stage: Stage) -> None:
    module, begun, go, outage = Module("shop"), asyncio.Event(), asyncio.Event(), [True]

    @module.on(Pinged, breaker=Breaker(2, recovery=3600), retry=Retry(2, fixed(3600)))
    async def handle(event: Pinged) -> None:
        if event.number == 0:
            begun.set()
            await go.wait()
        elif outage:
            raise Refused("no answer")

    events = await stage.running(module, inline_budget=0.05)
    await events.publish(Pinged(number=0))
    await within(begun.wait())
    await publish(events, [Pinged(number=number) for number in (1, 2)])
    await until(lambda: is_open(stage))
    go.set()
    await until(lambda: stage.value("SELECT count(*) = 1 FROM events.delivery WHERE state = 'done'"))
    assert await is_open(stage)


WRONG = [
    pytest.param({"threshold": 0}, "threshold=0 is not a whole number", id="none"),
    pytest.param({"threshold": True}, "threshold=True is not a whole number", id="bool"),
    pytest.param({"window": 0}, "window=0 is not between 0 and ten years", id="window"),
    pytest.param({"recovery": "soon"}, "recovery='soon' is not a number of seconds", id="text"),
]


@pytest.mark.parametrize(("options", "message"), WRONG)
def test_a_breaker_that_cannot_work_is_refused(options: Any, message: str) -> None:
    from fastapi_events.errors import ContradictoryOptions

    with pytest.raises(ContradictoryOptions, match=message):
        Breaker(**options)


def test_what_is_no_breaker_is_refused_at_the_declaration() -> None:
    from fastapi_events.errors import ContradictoryOptions

    with pytest.raises(ContradictoryOptions, match=r"handler 'shop.handle': breaker=5 is no circuit breaker"):

        @Module("shop").on(Placed, breaker=5)  # type: ignore[call-overload]
        async def handle(event: Placed) -> None: ...
