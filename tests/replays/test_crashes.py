"""Events that end their process when they are replayed: each is found, and nothing else dies of it."""

from fastapi_events import Delivery, Module, Retry, fixed
from tests.concurrency.vanishing import SILENT, Fleet, Killer
from tests.delivery.stage import SLOW, Placed, Stage, publish, until
from tests.replays.test_replaying import DUTY, settled

POISON = 3


async def test_an_event_that_ends_processes_in_a_replay_dies_and_the_others_are_delivered(stage: Stage) -> None:
    seen: list[tuple[int, bool]] = []

    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Placed, id="shop.handle")
        async def handle(event: Placed, delivery: Delivery) -> None:
            if delivery.replay_id is not None:
                await killer.strike(event.number)
            seen.append((event.number, delivery.replay_id is not None))

        return module

    fleet = Fleet(stage, make, POISON, max_crashes=1)
    await fleet.fill([Placed(order="o", number=n) for n in (1, 2, POISON, 4)])
    events = await fleet.live()
    replay = await events.operations.replays.start("shop.handle", actor=DUTY)
    for _ in range(2):  # in company
        await fleet.vanish()
    assert await stage.deliveries() == []
    seen.clear()
    await fleet.vanish()  # alone
    assert {row["reason"] for row in await stage.deliveries("waiting")} == {"crash_suspect"}
    events = await fleet.live()
    assert seen == [(1, True), (2, True)]
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.reason, dead.replay_id, dead.behind) == ("crashed_worker", replay.id, 1)
    assert await settled(events, replay.id) == "done"
    await publish(events, [Placed(order="o", number=9)])
    await events.drain_once()
    assert seen[2:] == [(9, False)], "the live key waits for the replay's dead letter"


async def test_a_doubtful_delivery_of_a_replay_casts_no_doubt_on_the_live_one_of_its_event(stage: Stage) -> None:
    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Placed, id="shop.handle", retry=Retry(max_attempts=50, backoff=fixed(600)))
        async def handle(event: Placed, delivery: Delivery) -> None:
            if delivery.replay_id is not None and delivery.attempt > 1:
                await killer.strike(event.number)
            raise RuntimeError("it fails, live and replayed")

        return module

    fleet = Fleet(stage, make, POISON)
    await fleet.fill([Placed(order="o", number=POISON)])
    events = await fleet.live()
    replay = await events.operations.replays.start("shop.handle", actor=DUTY)
    await fleet.live()
    await stage.make_due()
    for _ in range(3):
        await fleet.vanish()
    reasons = {row["replay_id"] == replay.id: row["reason"] for row in await stage.deliveries("waiting")}
    assert reasons == {True: "crash_suspect", False: "retry"}


async def test_an_event_that_ends_processes_in_the_history_of_a_new_handler_dies_and_live_goes_on(stage: Stage) -> None:
    seen: list[tuple[int, bool]] = []

    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Placed, id="shop.handle", start="beginning")
        async def handle(event: Placed, delivery: Delivery) -> None:
            await killer.strike(event.number)
            seen.append((event.number, delivery.replay_id is not None))

        return module

    fleet = Fleet(stage, make, POISON, max_crashes=1)
    old = await stage.idle(Module("old"), **SILENT)
    await publish(old, [Placed(order="o", number=n) for n in (1, 2, POISON, 4)])
    for _ in range(2):  # in company
        await fleet.vanish()
    await publish(old, [Placed(order="o", number=5)])
    seen.clear()
    await fleet.vanish()  # alone, although what is live of the handler is due and waits
    events = await fleet.live()
    [dead] = (await events.observe.dead_letters()).dead_letters
    assert (dead.reason, dead.replay_id is not None, dead.behind) == ("crashed_worker", True, 1)
    assert seen == [(1, True), (2, True), (5, False)]


async def test_what_is_in_doubt_of_a_history_is_run_alone_without_waiting_for_a_poll(stage: Stage) -> None:
    seen: list[int] = []

    def make(killer: Killer) -> Module:
        module = Module("shop")

        @module.on(Placed, id="shop.handle", start="beginning")
        async def handle(event: Placed) -> None:
            await killer.strike(event.number)
            seen.append(event.number)

        return module

    fleet = Fleet(stage, make, POISON)
    old = await stage.idle(Module("old"), **SILENT)
    await publish(old, [Placed(order="o", number=n) for n in (1, 2, POISON, 4)])
    for _ in range(2):
        await fleet.vanish()
    seen.clear()
    await stage.running(make(Killer()), **SILENT | SLOW)
    await until(lambda: seen == [1, 2, POISON, 4])
