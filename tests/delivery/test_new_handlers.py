"""Handlers come, go and are renamed while events flow: what is theirs reaches them, once."""

import asyncio

import asyncpg

from fastapi_events import Delivery, HandlerSession, Module, Retry, fixed
from tests.delivery.stage import Pinged, Placed, Shipped, Stage, effect, publish, until, within


def shop(seen: list[tuple[str, int]], *names: str) -> Module:
    module = Module("shop")

    def add(name: str) -> None:
        async def handle(event: Placed) -> None:
            seen.append((name, event.number))

        module.on(Placed, id=f"shop.{name}")(handle)

    for name in names:
        add(name)
    return module


async def test_a_new_handler_begins_with_the_events_after_its_registration(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    old = await stage.idle(shop(seen, "old"))
    await publish(old, [Placed(order="a", number=1)])
    both = await stage.idle(shop(seen, "old", "new"))
    await publish(old, [Placed(order="a", number=2)])
    await both.drain_once()
    assert sorted(seen) == [("new", 2), ("old", 1), ("old", 2)]


async def test_events_after_the_registration_that_an_old_worker_claims_wait_for_the_new_one(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    old = await stage.idle(shop(seen, "old"))
    await publish(old, [Placed(order="a", number=1)])
    both = await stage.idle(shop(seen, "old", "new"))
    await publish(old, [Placed(order="a", number=2), Placed(order="b", number=3)])
    await old.drain_once()
    assert sorted(seen) == [("old", 1), ("old", 2), ("old", 3)]
    assert [(row["handler"], row["reason"]) for row in await stage.deliveries()] == [("shop.new", "no_handler")] * 2
    await both.drain_once()
    assert sorted(seen[3:]) == [("new", 2), ("new", 3)]
    assert {row["state"] for row in await stage.deliveries()} == {"done"}


async def test_a_transaction_open_while_a_handler_is_registered_is_for_it_too(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    old = await stage.idle(shop(seen, "old"))
    async with old.session() as session:
        from uuid import uuid4

        await old.publisher(session)(Placed(order="a", number=1), event_id=uuid4())
        both = await stage.idle(shop(seen, "old", "new"))
        await session.commit()
    await both.drain_once()
    assert sorted(seen) == [("new", 1), ("old", 1)]


async def test_no_event_is_lost_or_doubled_while_a_handler_is_added_under_load(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    old = await stage.running(shop(seen, "old"))
    publisher, numbers, stop = await stage.idle(), [], asyncio.Event()

    async def feed() -> None:
        while not stop.is_set():
            numbers.append(len(numbers))
            await publish(publisher, [Placed(order=str(numbers[-1] % 5), number=numbers[-1])])

    feeding = asyncio.create_task(feed())
    await until(lambda: len(seen) > 20)
    both = await stage.running(shop(seen, "old", "new"))
    before = len(numbers)
    await until(lambda: len(numbers) > before + 40)
    stop.set()
    await within(feeding)
    await until(lambda: sum(name == "old" for name, _ in seen) >= len(numbers))
    await until(lambda: ("new", numbers[-1]) in seen)
    await until(lambda: sum(name == "new" for name, _ in seen) >= len(numbers) - min(n for m, n in seen if m == "new"))
    assert sorted(number for name, number in seen if name == "old") == numbers
    new = sorted(number for name, number in seen if name == "new")
    assert new == list(range(new[0], len(numbers)))
    assert new[0] <= before
    await both.stop()
    await old.stop()


async def test_a_renamed_handler_keeps_its_queue_its_dead_letters_and_its_marks(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    broken = [True]

    def version(handler_id: str, was: tuple[str, ...] = ()) -> Module:
        module = Module("shop")

        @module.on(Placed, id=handler_id, was=was, retry=Retry(1))
        async def handle(event: Placed, session: HandlerSession) -> None:
            if broken[0] and event.number == 1:
                raise ValueError("broken")
            await effect(session, handler_id, event.number)
            seen.append((handler_id, event.number))

        return module

    old = await stage.idle(version("shop.reserve"))
    await publish(old, [Placed(order="a", number=1), Placed(order="a", number=2), Placed(order="b", number=3)])
    await old.drain_once()
    await old.stop()
    broken.clear()
    broken.append(False)
    new = await stage.idle(version("stock.reserve", ("shop.reserve",)))
    [dead] = await stage.deliveries("dead")
    assert dead["handler"] == "stock.reserve"
    await new.operations.redrive([dead["id"]], actor="me")
    await publish(new, [Placed(order="b", number=4)])
    await new.drain_once()
    assert seen[0] == ("shop.reserve", 3)
    assert sorted(seen[1:]) == [("stock.reserve", 1), ("stock.reserve", 2), ("stock.reserve", 4)]
    assert await stage.value("SELECT count(*) FROM events.handler") == 1


async def test_a_renamed_handler_may_select_another_event_at_once(stage: Stage) -> None:
    seen: list[str] = []
    old_module, new_module = Module("shop"), Module("shop")

    @old_module.on(Placed, id="shop.old")
    async def old(event: Placed) -> None:
        seen.append("old")

    @new_module.on(Shipped, id="shop.new", was=("shop.old",))
    async def new(event: Shipped) -> None:
        seen.append(f"new {event.number}")

    first = await stage.idle(old_module)
    await first.stop()
    second = await stage.idle(new_module)
    await publish(second, [Placed(order="a", number=1), Shipped(order="a", number=2)])
    await second.drain_once()
    assert seen == ["new 2"]


async def test_a_handler_may_change_what_it_selects(stage: Stage) -> None:
    seen: list[int] = []

    def version(event_class: type[Placed] | type[Pinged]) -> Module:
        module = Module("shop")

        @module.on(event_class, id="shop.handle")
        async def handle(event: Placed | Pinged) -> None:
            seen.append(event.number)

        return module

    first = await stage.idle(version(Placed))
    await publish(first, [Placed(order="a", number=1), Pinged(number=2)])
    await first.drain_once()
    await first.stop()
    second = await stage.idle(version(Pinged))
    await publish(second, [Placed(order="a", number=3), Pinged(number=4)])
    await second.drain_once()
    assert seen == [1, 4]


async def test_many_processes_may_register_at_once(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    instances = [stage.make(shop(seen, "one", "two", f"own{number}")) for number in range(6)]
    await within(asyncio.gather(*(events.start(drains=False) for events in instances)))
    assert await stage.value("SELECT count(*) FROM events.handler") == 8
    assert await stage.value("SELECT count(*) FROM events.consumer_group") == 1
    assert await stage.value("SELECT count(*) FROM events.handler WHERE started_after IS NULL") == 0
    await publish(instances[0], [Placed(order="a", number=1)])
    for events in instances:
        await events.drain_once()
    assert sorted(seen) == sorted([("one", 1), ("two", 1), *((f"own{number}", 1) for number in range(6))])


async def test_a_group_made_by_another_process_at_the_same_moment_is_joined(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    other = await asyncpg.connect(stage.url)
    try:
        making = other.transaction()
        await making.start()
        group_id = await other.fetchval("INSERT INTO events.consumer_group (name) VALUES ('app') RETURNING id")
        events = stage.make(shop(seen, "one"))
        starting = asyncio.create_task(events.start(drains=False))
        await until(
            lambda: stage.value(
                "SELECT count(*) FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))", other.get_server_pid()
            ),
            "the starting process to wait for the other one",
        )
        await making.commit()
        await within(starting)
    finally:
        await other.close()
    assert await stage.value("SELECT group_id FROM events.handler") == group_id


async def test_a_waiting_delivery_of_a_missing_handler_keeps_its_attempts(stage: Stage) -> None:
    attempts: list[int] = []

    def version(*, has: bool) -> Module:
        module = Module("shop")
        if has:

            @module.on(Placed, id="shop.gone", retry=Retry(3, fixed(0)))
            async def gone(event: Placed, delivery: Delivery) -> None:
                attempts.append(delivery.attempt)
                if delivery.attempt < 2:
                    raise ValueError("not yet")

        return module

    with_it = await stage.idle(version(has=True))
    without = await stage.idle(version(has=False))
    await publish(with_it, [Placed(order="a", number=1)])
    await without.drain_once()
    await without.drain_once()
    [waiting] = await stage.deliveries()
    assert (waiting["state"], waiting["reason"], waiting["attempts"]) == ("waiting", "no_handler", 0)
    await with_it.drain_once()
    assert attempts == [1, 2]
