"""Starting and stopping: counted, abortable, in good order; what was not begun is somebody else's at once."""

import asyncio

import pytest

from fastapi_events import Delivery, Events, EventsSettings, Module, Retry, fixed
from fastapi_events.engine import running
from fastapi_events.errors import NotStarted, SchemaOutOfDate, SettingsError
from tests.conftest import NewDatabase
from tests.delivery.stage import Placed, Stage, publish, until, within


async def test_a_stop_lets_running_handlers_finish_and_hands_the_rest_over_at_once(stage: Stage) -> None:
    reached, go, seen = asyncio.Event(), asyncio.Event(), []

    def shop(name: str, *, gated: bool) -> Module:
        module = Module("shop")

        @module.on(Placed, retry=Retry(1))
        async def handle(event: Placed, delivery: Delivery) -> None:
            if gated:
                reached.set()
                await go.wait()
            seen.append((name, event.order, event.number, delivery.attempt))

        return module

    first = await stage.running(
        shop("first", gated=True), lanes=["change"], concurrency={"events_change": 1}, lease=600.0, heartbeat=60.0
    )
    publisher = await stage.idle()
    await publish(publisher, [Placed(order=order, number=number) for number in (1, 2) for order in "abc"])
    await within(reached.wait())
    stopping = asyncio.create_task(first.stop())
    await asyncio.sleep(0)
    go.set()
    await within(stopping)
    assert len(seen) == 1
    second = await stage.idle(shop("second", gated=False))
    await within(second.drain_once())
    assert len(seen) == 6
    assert {attempt for *_, attempt in seen} == {1}
    for order in "abc":
        assert [number for _, name, number, _ in seen if name == order] == [1, 2]
    newest = "SELECT DISTINCT ON (group_id, lane, partition) * FROM events.cursor_log ORDER BY 1, 2, 3, seq DESC"
    assert await stage.value(f"SELECT count(*) FROM ({newest}) n WHERE lease_until > clock_timestamp()") == 0


async def test_a_handler_that_outlasts_the_grace_is_given_up_without_an_attempt(stage: Stage) -> None:
    reached, attempts = asyncio.Event(), []
    module = Module("shop")

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            reached.set()
            await asyncio.Event().wait()

    first = await stage.running(module, shutdown_grace=0.1)
    await publish(first, [Placed(order="a", number=1), Placed(order="a", number=2)])
    await within(reached.wait())
    await within(first.stop(), 5)
    [head, follower] = await stage.deliveries()
    assert (head["state"], head["attempts"], head["postponed"]) == ("waiting", 0, 1)
    assert follower["attempts"] == 0
    second = await stage.idle(module)
    await second.drain_once()
    assert attempts == [1, 1, 1]


async def test_a_parked_key_in_work_is_given_back_by_a_stop(stage: Stage) -> None:
    reached, attempts = asyncio.Event(), []
    module = Module("shop")

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            raise ValueError("not yet")
        if len(attempts) == 2:
            reached.set()
            await asyncio.Event().wait()

    first = await stage.running(module, shutdown_grace=0.1, lease=600.0, heartbeat=60.0)
    await first.publish(Placed(order="a"))
    await within(reached.wait())
    await within(first.stop(), 8)
    second = await stage.idle(module)
    await within(second.drain_once(), 5)
    assert attempts == [1, 2, 2]
    assert [row["state"] for row in await stage.deliveries()] == ["done"]


async def test_starts_are_counted_and_stops_may_be_too_many(stage: Stage) -> None:
    events = stage.make(Module("shop"))
    await events.stop()
    await events.start(drains=True)
    await events.start()
    await events.stop()
    assert await events.publish(Placed(order="a"))
    assert running.current() is events
    await events.stop()
    await events.stop()
    with pytest.raises(NotStarted, match=r"await events\.start\(\)"):
        await events.publish(Placed(order="a"))
    await events.start()
    assert await events.publish(Placed(order="a"))


async def test_concurrent_starts_and_stops_leave_it_as_counted(stage: Stage) -> None:
    events = stage.make(Module("shop"))
    await within(asyncio.gather(*(events.start(drains=True) for _ in range(5))))
    await within(asyncio.gather(*(events.stop() for _ in range(4))))
    assert await events.publish(Placed(order="a"))
    await asyncio.gather(events.start(), events.stop(), events.stop())
    with pytest.raises(NotStarted):
        await events.publish(Placed(order="a"))
    await stage.value("SELECT 1")
    await until(lambda: no_connections(stage))


async def no_connections(stage: Stage) -> bool:
    count = await stage.value(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'fastapi_events'"
    )
    return bool(count == 0)


@pytest.mark.parametrize("turns", [0, 1, 3, 10, 30, 100])
async def test_a_start_that_is_cancelled_leaves_nothing_behind(stage: Stage, turns: int) -> None:
    events = stage.make(Module("shop"))
    starting = asyncio.create_task(events.start(drains=True))
    for _ in range(turns):
        await asyncio.sleep(0.0005)
    starting.cancel()
    try:
        await within(starting)
        await events.stop()
    except asyncio.CancelledError:
        pass
    await until(lambda: no_connections(stage))
    with pytest.raises(NotStarted):
        running.current()
    await within(events.start(drains=True))
    assert await events.publish(Placed(order="a"))


async def test_a_stop_during_a_start_waits_for_it(stage: Stage) -> None:
    events = stage.make(Module("shop"))
    starting = asyncio.create_task(events.start(drains=True))
    await asyncio.sleep(0)
    await within(events.stop())
    await within(starting)
    await until(lambda: no_connections(stage))


async def test_a_failed_start_leaves_nothing_behind_and_can_be_repeated(
    stage: Stage, new_database: NewDatabase
) -> None:
    url = await new_database(schema=False)
    events = Events(settings=EventsSettings(database_url=url))
    told = r"'events' is not installed; this release needs version \d+\. Run 'fastapi-events db upgrade'"
    with pytest.raises(SchemaOutOfDate, match=told):
        await events.start()
    with pytest.raises(NotStarted):
        running.current()
    upgraded = Events(settings=EventsSettings(database_url=url, auto_upgrade=True))
    await upgraded.start()
    await upgraded.stop()
    await events.start()
    await events.stop()


@pytest.mark.parametrize("error", [OSError("no way out"), asyncio.CancelledError()])
async def test_what_fails_to_stop_is_told_and_leaves_nothing_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    events = await stage.running(Module("shop"))
    runtime, order = events.runtime, list[str]()
    first, second = runtime.drain_loops[:2]
    stop, written = second.stop, runtime.gates.written

    async def fail(*_: object) -> None:
        raise error

    async def take_long(grace: float) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        await stop(grace)
        order.append("another loop")

    async def note() -> None:
        order.append("what comes next")
        await written()

    monkeypatch.setattr(first, "stop", fail)
    monkeypatch.setattr(second, "stop", take_long)
    monkeypatch.setattr(runtime.gates, "written", note)
    with pytest.raises(type(error)):
        await events.stop()
    monkeypatch.undo()
    assert order == ["another loop", "what comes next"]
    await first.stop()
    assert runtime.listener is not None
    assert not runtime.listener.listening.is_set()
    assert await stage.value("SELECT count(*) FROM events.worker") == 0
    await until(lambda: no_connections(stage))
    with pytest.raises(NotStarted):
        running.current()
    with pytest.raises(NotStarted):
        _ = events.runtime
    events.settings = events.settings.model_copy(update={"batch_size": 7})
    await events.start()
    assert events.runtime is not runtime


async def test_draining_by_hand_beside_the_running_loops_loses_no_outcome(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(1))
    async def handle(event: Placed) -> None:
        await asyncio.sleep(0.001 * (event.number % 7))
        seen.append(event.number)
        raise ValueError("every outcome counts")

    events, drains = await stage.running(module, batch_size=10), []
    for start in range(0, 200, 5):
        await publish(events, [Placed(order=str(number), number=number) for number in range(start, start + 5)])
        drains.append(asyncio.create_task(events.drain_once()))
    await within(asyncio.gather(*drains))
    await until(lambda: len(seen) >= 200)
    await within(events.stop())
    assert sorted(seen) == list(range(200))
    assert len(await stage.deliveries("dead")) == 200


async def test_without_a_database_the_start_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match=r"EVENTS_DATABASE_URL=.*Events\(sessions=.*EVENTS_DEV=1"):
        await Events(settings=EventsSettings()).start()


async def test_two_started_instances_are_told_apart_by_nobody(stage: Stage) -> None:
    await stage.idle(Module("shop"), group="one")
    await stage.idle(Module("shop"), group="two")
    with pytest.raises(NotStarted, match="2 Events instances are started"):
        running.current()


async def test_a_disabled_instance_publishes_and_handles_nothing(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    events = await stage.running(module, enabled=False)
    await events.publish(Placed(order="a", number=1))
    assert events.runtime.drain_loops == []
    other = await stage.running(module)
    await until(lambda: seen == [1])
    assert (await other.health()).drain == "running"
    assert (await events.health()).drain == "disabled"


@pytest.mark.parametrize("which", ["sessions", "sync_sessions"])
def test_session_makers_of_another_kind_are_refused(which: str) -> None:
    def make() -> None: ...

    with pytest.raises(SettingsError, match=rf"Events\({which}=.*sessionmaker"):
        Events(**{which: make})  # type: ignore[arg-type]


def test_a_prefix_that_cannot_work_is_refused() -> None:
    for prefix in ("events", "/events/", "", "/"):
        with pytest.raises(SettingsError, match="begins with '/'"):
            Events(prefix=prefix)


async def test_health_names_a_loop_that_somebody_has_cancelled(clean_database: str) -> None:
    events = Events(settings=EventsSettings(database_url=clean_database))
    await events.start(drains=True)
    try:
        assert (await events.health()).problems == ()
        [drain] = [task for task in asyncio.all_tasks() if task.get_name() == "fastapi_events:drain of lane change"]
        drain.cancel()
        await asyncio.wait({drain})
        [problem] = (await events.health()).problems
        assert problem.startswith("drain of lane change: its task was cancelled from outside")
    finally:
        await events.stop()
