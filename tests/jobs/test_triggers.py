"""An event starts the runs of the jobs that have a trigger on it: one for each, whatever happens on the way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fastapi_events import Events, HandleContext, HandlerSession, Middleware, Module, Retry, Trigger, fixed
from fastapi_events.engine.jobs.side import JobSide
from fastapi_events.errors import AuditEventTriggerError, DuplicateTrigger
from tests.concurrency.test_fencing import EXPIRE_KEYS, EXPIRE_LANES, Gate, stale
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish, until, within
from tests.delivery.test_refused_settlements import triggers as taken_away
from tests.jobs.triggered import TRIGGER, Restock, job_of, made, queued, restocking, runs

__all__ = ["taken_away"]


class Gated(Middleware):
    """Stops an attempt after its handler was called, once."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    async def handle(self, context: HandleContext, call_next: Callable[..., Awaitable[Any]]) -> Any:
        result = await call_next(context)
        await self.gate.wait()
        return result


async def test_an_event_starts_a_run_that_inherits_from_it(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.idle(restocking(seen))
    published = await events.publish(Placed(order="a", number=3), tenant_id="acme")
    await events.drain_once()
    assert seen == ["a"]
    [run] = await runs(stage)
    [event] = await stage.rows("SELECT * FROM events.event")
    assert (run["source"], run["source_ref"], run["trigger"]) == ("event", str(published.event_id), TRIGGER)
    assert (run["event_id"], run["causation_id"]) == (published.event_id, published.event_id)
    assert (run["correlation_id"], run["tenant_id"], run["depth"]) == (event["correlation_id"], "acme", 1)
    assert run["input"] == '{"sku": "a", "quantity": 3}'
    assert not await stage.deliveries()


async def test_each_trigger_starts_a_run_of_its_own(stage: Stage) -> None:
    seen: list[Any] = []
    triggers = [
        Trigger(Placed, map=made),
        Trigger(Placed, map=lambda event: Restock(sku=f"again {event.order}"), id="shop.again"),
        Trigger(Shipped, map=lambda event: Restock(sku=f"shipped {event.order}")),
    ]
    events = await stage.idle(restocking(seen, triggers=triggers))
    await publish(events, [Placed(order="a"), Shipped(order="b"), Placed(order="c")])
    await events.drain_once()
    assert sorted(seen) == ["a", "again a", "again c", "c", "shipped b"]


async def test_one_whose_condition_does_not_hold_is_skipped_and_says_so(stage: Stage) -> None:
    seen: list[Any] = []
    only = Trigger(Placed, map=made, when=lambda event: event.number > 1)
    module = restocking(seen, triggers=[only])

    @module.on(Placed, id="shop.bystander")
    async def bystander(event: Placed) -> None:
        return None

    events = await stage.idle(module)
    first = await events.publish(Placed(order="a", number=1))
    await events.publish(Placed(order="b", number=2))
    await events.drain_once()
    assert seen == ["b"]
    detail = await events.observe.event(first.event_id)
    assert detail is not None
    told = {one.handler: (one.state, one.reason, one.note, one.job) for one in detail.deliveries}
    assert told == {
        TRIGGER: ("done", "skipped", "its condition did not hold", "shop.restock"),
        "shop.bystander": ("done", None, None, None),
    }
    assert detail.status == "done"
    assert not await stage.deliveries()


@pytest.mark.parametrize("record_success", ["none", "each"])
async def test_that_it_was_skipped_is_recorded_whatever_is_recorded_of_successes(
    stage: Stage, record_success: str
) -> None:
    never = Trigger(Placed, map=made, when=lambda event: False)
    events = await stage.idle(restocking([], triggers=[never]), record_success=record_success)
    await events.publish(Placed(order="a"))
    await events.drain_once()
    assert await stage.value("SELECT note FROM events.success_batch") == "its condition did not hold"


async def test_one_that_raises_is_tried_again_and_ends_as_a_dead_letter_of_its_name(stage: Stage) -> None:
    seen: list[Any] = []
    broken = [ValueError("no supplier")] * 3

    def unsure(event: Placed) -> Restock:
        if event.order == "b" and broken:
            raise broken.pop()
        return made(event)

    events = await stage.idle(restocking(seen, triggers=[Trigger(Placed, map=unsure)]))  # three attempts, by default
    await publish(events, [Placed(order="b"), Placed(order="b", number=2), Placed(order="c")])
    await events.drain_once()
    assert seen[0] == "c"
    assert len(seen) + len(await stage.deliveries("dead")) == 3
    broken[:] = [ValueError("no supplier")] * 3
    await events.publish(Placed(order="b", number=3))
    await events.drain_once()
    dead = (await stage.deliveries("dead"))[-1]
    assert (dead["handler"], dead["reason"], dead["attempts"]) == (TRIGGER, "max_attempts", 3)
    assert dead["error_message"] == "no supplier"
    before = len(seen)
    await events.operations.redrive([dead["id"]], actor="ada")
    await events.drain_once()
    assert len(seen) == before + 1


async def test_one_that_is_skipped_at_a_later_attempt_says_so_too(stage: Stage) -> None:
    broken = [True]

    def unsure(_event: Placed) -> bool:
        if broken.pop() if broken else False:
            raise ValueError("not yet")
        return False

    events = await stage.idle(restocking([], triggers=[Trigger(Placed, map=made, when=unsure)]))
    published = await events.publish(Placed(order="a"))
    await events.drain_once()
    detail = await events.observe.event(published.event_id)
    assert detail is not None
    [told] = detail.deliveries
    assert (told.state, told.reason, told.note) == ("done", "skipped", "its condition did not hold")
    assert await runs(stage) == []


async def test_an_input_that_the_job_does_not_take_dies_at_once(stage: Stage) -> None:
    wrong: Any = Trigger(Placed, map=lambda event: event.number)
    large = Trigger(Placed, map=lambda event: Restock(sku="x" * 2_000), id="shop.large")
    events = await stage.idle(restocking([], triggers=[wrong, large]), max_payload_size=1_000, warn_payload_size=1_000)
    await events.publish(Placed(order="a", number=1))
    await events.drain_once()
    first, second = sorted(await stage.deliveries(), key=lambda row: row["handler"])
    for row, said in ((first, "2,023 bytes"), (second, "takes Restock, and was given")):
        assert (row["state"], row["reason"], row["attempts"]) == ("dead", "invalid_payload", 1)
        assert row["error_message"].startswith(f"trigger '{row['handler']}' made what the job does not take: ")
        assert said in row["error_message"]


async def test_a_condition_that_would_have_to_be_awaited_is_an_error(stage: Stage) -> None:
    async def held() -> bool:
        return False

    waits: Any = Trigger(Placed, map=made, when=lambda event: held())
    events = await stage.idle(restocking([], triggers=[waits]))
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [dead] = await stage.deliveries("dead")
    assert "when= returned a coroutine. Write a plain function" in dead["error_message"]


async def test_the_run_is_there_with_the_record_that_the_event_is_dealt_with_or_neither(stage: Stage) -> None:
    gate, seen = Gate(), []
    zombie = await stage.idle(restocking(seen), middleware=[Gated(gate)], heartbeat=2.0)
    heir = await stage.idle(restocking(seen))
    await zombie.publish(Placed(order="a"))
    working = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    assert await runs(stage) == []
    await stage.rows(EXPIRE_LANES)
    await heir.drain_once()
    [before] = await runs(stage)
    gate.go.set()
    await within(working)
    assert [run["id"] for run in await runs(stage)] == [before["id"]]
    assert (seen, stale(zombie)) == (["a"], 1)


async def test_a_process_that_ends_before_it_has_recorded_the_event_has_started_nothing(stage: Stage) -> None:
    gate, seen = Gate(), []
    crashing = await stage.idle(restocking(seen), middleware=[Gated(gate)], heartbeat=2.0)
    heir = await stage.idle(restocking(seen))
    await crashing.publish(Placed(order="a"))
    working = asyncio.create_task(crashing.drain_once())
    await within(gate.reached.wait())
    working.cancel()
    await asyncio.wait([working])
    assert await runs(stage) == []
    await stage.rows(EXPIRE_LANES)
    await heir.drain_once()
    assert (seen, len(await runs(stage))) == (["a"], 1)


async def test_a_retry_of_one_that_was_overtaken_starts_no_second_run(stage: Stage) -> None:
    gate, seen, broken = Gate(), [], [True]

    def unsure(event: Placed) -> Restock:
        if broken.pop() if broken else False:
            raise ValueError("not yet")
        return made(event)

    def module() -> Module:
        return restocking(seen, triggers=[Trigger(Placed, map=unsure)])

    zombie = await stage.idle(module(), middleware=[Gated(gate)], heartbeat=2.0)
    heir = await stage.idle(module())
    await zombie.publish(Placed(order="a"))
    working = asyncio.create_task(zombie.drain_once())
    await within(gate.reached.wait())
    await stage.rows(EXPIRE_KEYS)
    await heir.drain_once()
    gate.go.set()
    await within(working)
    assert (seen, len(await runs(stage))) == (["a"], 1)
    [done] = await stage.deliveries()
    assert done["state"] == "done"


async def test_two_processes_start_one_run_for_each_event(stage: Stage) -> None:
    seen: list[Any] = []
    first = await stage.running(restocking(seen))
    await stage.running(restocking(seen))
    await publish(first, [Placed(order=str(number % 7), number=number) for number in range(200)])
    await until(lambda: len(seen) >= 200)
    await until(lambda: nothing_left(stage))
    assert len(seen) == len(await runs(stage)) == 200
    assert len({run["event_id"] for run in await runs(stage)}) == 200


async def nothing_left(stage: Stage) -> bool:
    return await queued(stage) == 0


async def test_a_replay_starts_runs_for_those_events_alone_that_have_none(stage: Stage) -> None:
    seen: list[Any] = []
    before = await stage.idle(Module("shop"))
    await publish(before, [Placed(order="before", number=2), Placed(order="too few", number=1)])
    await before.drain_once()
    trigger = Trigger(Placed, map=made, when=lambda event: event.number > 1)
    events = await stage.idle(restocking(seen, triggers=[trigger]))
    await events.publish(Placed(order="live", number=2))
    await events.drain_once()
    assert seen == ["live"]
    for _ in range(2):
        replay = await events.operations.replays.start(TRIGGER, actor="ada")
        await events.drain_once()
        view = await events.operations.replays.get(replay.id)
        assert (view.state, view.done, view.skipped, view.failed) == ("done", 2, 1, 0)
        assert seen == ["live", "before"]
    assert len(await runs(stage)) == 2


async def test_jobs_are_known_before_the_first_event_is_handled(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    before = await stage.idle(restocking(seen))
    await before.publish(Placed(order="a"))
    events, at_work, register = stage.make(restocking(seen)), [], JobSide.register

    async def watched(side: JobSide, group_id: int) -> None:
        runtime: Any = events.publishing._runtime
        at_work.extend(runtime.drain_loops)
        await register(side, group_id)

    monkeypatch.setattr(JobSide, "register", watched)
    await events.start(drains=True)
    await until(lambda: seen == ["a"])
    assert at_work == []
    assert not await stage.deliveries()


async def test_a_paused_one_waits_and_starts_its_run_when_it_is_resumed(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.idle(restocking(seen))
    await events.operations.pause(handler=TRIGGER, actor="ada")
    await events.publish(Placed(order="a"))
    await events.drain_once()
    [waiting] = await stage.deliveries("waiting")
    assert (waiting["handler"], waiting["reason"], seen) == (TRIGGER, "paused", [])
    await events.operations.resume(handler=TRIGGER, actor="ada")
    await events.drain_once()
    assert seen == ["a"]


async def test_a_breaker_opens_for_one_that_only_fails(stage: Stage) -> None:
    def broken(_event: Placed) -> Restock:
        raise ValueError("no supplier")

    events = await stage.idle(restocking([], triggers=[Trigger(Placed, map=broken)]), breaker_threshold=2)
    await publish(events, [Placed(order=str(number)) for number in range(10)])
    await events.drain_once()
    await until(lambda: stage.value("SELECT opened_at FROM events.breaker"))
    [handler] = await events.observe.handlers()
    assert (handler.name, handler.job, handler.breaker_opened_at is not None) == (TRIGGER, "shop.restock", True)


async def test_a_removed_one_leaves_deliveries_that_say_so_until_it_comes_back(stage: Stage) -> None:
    seen: list[Any] = []
    old = await stage.idle(restocking(seen))
    await old.stop()
    without = await stage.idle(restocking(seen, name="shop.other"))
    published = await without.publish(Placed(order="a"))
    await without.drain_once()
    [waiting] = await stage.deliveries()
    assert (waiting["state"], waiting["reason"], waiting["handler"]) == ("waiting", "trigger_unregistered", TRIGGER)
    assert seen == ["a"], "the run of the job that is there"
    detail = await without.observe.event(published.event_id)
    assert detail is not None
    told = {one.handler: (one.state, one.reason, one.job) for one in detail.deliveries}
    assert told[TRIGGER] == ("waiting", "trigger_unregistered", "shop.restock")
    back = await stage.idle(restocking(seen))
    await back.drain_once()
    assert seen == ["a", "a"]
    assert [row["state"] for row in await stage.deliveries()] == ["done"]


@pytest.mark.parametrize("kept_by", ["was", "id"])
async def test_a_renamed_job_keeps_its_triggers_and_starts_no_second_run(stage: Stage, kept_by: str) -> None:
    seen: list[Any] = []
    old = await stage.idle(restocking(seen))
    await old.publish(Placed(order="a"))
    await old.drain_once()
    kept_id = Trigger(Placed, map=made, id=TRIGGER if kept_by == "id" else None)
    new = await stage.idle(restocking(seen, name="shop.refill", was=["shop.restock"], triggers=[kept_id]))
    await new.operations.replays.start(new_name(new), actor="ada")
    await new.drain_once()
    assert seen == ["a"], "the same run, whatever it is called now"
    await new.publish(Placed(order="b"))
    await old.publish(Placed(order="c"))
    await old.drain_once()
    await new.drain_once()
    assert sorted(seen) == ["a", "b", "c"]
    assert not await stage.deliveries()
    [handler] = await new.observe.handlers()
    assert handler.job == "shop.refill"


def new_name(events: Events) -> str:
    [name] = events.registry.triggers
    return name


async def test_a_process_of_the_release_before_leaves_it_to_one_that_has_it(stage: Stage) -> None:
    seen: list[Any] = []
    before = await stage.idle(Module("shop"))
    after = await stage.running(restocking(seen), poll_interval=600.0)
    await before.runtime.refresh_plan()
    await after.stop()
    await before.publish(Placed(order="a"))
    await before.drain_once()
    assert [row["reason"] for row in await stage.deliveries()] == ["trigger_unregistered"]
    await after.start(drains=True)
    await until(lambda: seen == ["a"])


async def test_what_cannot_be_recorded_of_its_run_costs_its_delivery_alone(stage: Stage, taken_away: Any) -> None:
    seen: list[Any] = []
    module = restocking(seen)

    @module.on(Placed, id="shop.bystander")
    async def bystander(event: Placed, session: HandlerSession) -> None:
        await effect(session, "bystander", event.number)

    @module.on(Placed, id="shop.plain")
    async def plain(event: Placed) -> None:
        return None

    await stage.rows(
        "CREATE OR REPLACE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.input ->> 'sku' = 'poison' THEN RAISE EXCEPTION 'no poison here'; END IF; RETURN NEW; END $$"
    )
    await stage.rows("CREATE TRIGGER refuse BEFORE INSERT ON events.run FOR EACH ROW EXECUTE FUNCTION refuse_poison()")
    events = await stage.idle(module)
    try:
        await publish(
            events, [Placed(order="a", number=1), Placed(order="poison", number=2), Placed(order="c", number=3)]
        )
        await events.drain_once()
    finally:
        await stage.rows("DROP TRIGGER refuse ON events.run")
    [dead] = await stage.deliveries()
    assert (dead["handler"], dead["reason"]) == (TRIGGER, "unsettleable")
    assert sorted(seen) == ["a", "c"]
    assert len(await stage.rows("SELECT FROM effect")) == 3


async def test_it_takes_the_events_older_versions_and_its_events_own_retry_policy(stage: Stage) -> None:
    calls: list[int] = []

    def broken(event: Placed) -> Restock:
        calls.append(event.number)
        raise ValueError("no supplier")

    events = await stage.idle(restocking([], triggers=[Trigger(Placed, map=broken)], retry=Retry(7, fixed(0))))
    await events.publish(Placed(order="a", number=1))
    await events.drain_once()
    assert calls == [1, 1, 1], "the job's policy is for its runs"


async def test_within_a_tests_transaction_a_run_is_started_there(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.idle(restocking(seen))
    async with events.session() as session:
        await events.publisher(session)(Placed(order="a"))
        await events.drain_once(session=session)
        assert await runs(stage) == []
        await session.commit()
    assert [run["trigger"] for run in await runs(stage)] == [TRIGGER]
    await events.drain_once()
    assert (seen, len(await runs(stage))) == (["a"], 1)


def test_what_could_never_start_anything_is_refused_where_it_is_written() -> None:
    from tests.jobs.test_declarations import Looked

    with pytest.raises(AuditEventTriggerError, match=r"Trigger\(Looked\): Looked is an audit event"):
        Trigger(Looked, map=lambda event: None)
    twice = [Trigger(Placed, map=made), Trigger(Placed, map=made)]
    with pytest.raises(DuplicateTrigger, match=r"two triggers have the id 'shop.restock.shop.order.placed'"):
        restocking([], triggers=twice)
    other = Module("other")
    other.job("other.job", triggers=[Trigger(Placed, map=made, id=TRIGGER)])(job_of(restocking([])).function)
    with pytest.raises(
        DuplicateTrigger, match=r"a trigger of job 'other.job' .* and of a trigger of job 'shop.restock'"
    ):
        Events([restocking([]), other])
    handler = Module("handler")
    handler.on(Shipped, id=TRIGGER)(bystander_of)
    with pytest.raises(DuplicateTrigger, match=r"and of handler 'shop.restock.shop.order.placed'"):
        Events([restocking([]), handler])


async def bystander_of(event: Shipped) -> None:
    """A handler."""
