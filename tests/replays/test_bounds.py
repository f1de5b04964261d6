"""A replay is counted and confirmed, and refuses what cannot be meant, with the mend."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from fastapi_events import HandlerSession, Module
from fastapi_events.api import replays as limits
from fastapi_events.errors import NotFound, OperationRefused, UnknownOption
from tests.delivery.stage import Pinged, Placed, Shipped, Stage, collecting, publish
from tests.replays.test_replaying import DUTY, settled


async def shop(stage: Stage) -> Any:
    module = Module("shop")

    @module.on(Placed, id="shop.plain")
    async def plain(event: Placed) -> None: ...

    @module.on(Placed, id="shop.charge")
    async def charge(event: Placed, session: HandlerSession) -> None: ...

    @module.on("shop.*", id="shop.wild")
    async def wild(event: Any) -> None: ...

    @module.on(Placed, id="shop.cache", broadcast=True)
    async def cache(event: Placed) -> None: ...

    events = await stage.idle(module)
    await publish(events, [Placed(order=f"o{n}", number=n) for n in range(4)], tenant_id="acme")
    await publish(events, [Placed(order=f"o{n}", number=n) for n in range(3)], tenant_id="umbrella")
    await publish(events, [Shipped(order="o0"), Pinged()])
    await events.drain_once()
    return events


@pytest.mark.parametrize(
    ("handler", "where", "message"),
    [
        ("shop.none", {}, r"no handler 'shop.none'"),
        ("shop.plan", {}, r"no handler 'shop.plan'. Did you mean 'shop.plain'\?"),
        ("shop.cache", {}, r"'shop.cache' is a broadcast handler"),
        ("shop.plain", {"events": ["shop.order.shipped"]}, r"takes 'shop.order.placed'"),
        ("shop.plain", {"events": "shop.order.placed"}, r"not a list of names"),
        ("shop.plain", {"from_position": 9, "to_position": 3}, r"not before the first"),
        ("shop.plain", {"since": datetime(2026, 1, 1)}, r"has no time zone"),  # noqa: DTZ001
        ("shop.plain", {"since": datetime(2026, 1, 2, tzinfo=UTC), "until": datetime(2026, 1, 1, tzinfo=UTC)},
         r"is not after since"),
        ("shop.plain", {"correlation_id": "x"}, r"correlation_id='x' is no UUID"),
        ("shop.plain", {"aggregate": "a\x00"}, r"nothing that an event can have"),
        ("shop.plain", {"key": "book/1"},
         r"key='book/1' is no whole ordering key, .* Say 'acme/order/1', or '/order/1' where there is no tenant"),
        ("shop.plain", {"rate": 0}, r"rate=0: "),
        ("shop.plain", {"rate": float("nan")}, r"rate=nan: "),
        ("shop.plain", {"rate": "50"}, r"rate='50': a replay goes at"),
        ("shop.plain", {"from_position": "3"}, r"from_position='3' is no whole number"),
        ("shop.plain", {"since": "2026-01-01"}, r"since='2026-01-01' is no datetime"),
        ("shop.plain", {"aggregate_id": "nobody"}, r"nothing to replay"),
    ],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused(stage: Stage, handler: str, where: Any, message: str) -> None:
    events = await shop(stage)
    with pytest.raises(OperationRefused, match=message):
        await events.operations.replays.start(handler, actor=DUTY, **where)
    assert await stage.value("SELECT count(*) FROM events.replay") == 0


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"tenant": "acme"}, r"has no option 'tenant'. Did you mean 'tenant_id'\?"),
        ({"sinse": datetime(2026, 1, 1, tzinfo=UTC)}, r"Did you mean 'since'\?"),
        ({"correlation": 1}, r"Did you mean 'correlation_id'\?"),
        ({"name": "nope"}, r"has no option 'name'. The options are from_position, to_position, since"),
    ],
)
async def test_a_condition_that_there_is_not_lets_no_history_through(stage: Stage, where: Any, message: str) -> None:
    events = await shop(stage)
    replays = events.operations.replays
    with pytest.raises(UnknownOption, match=rf"replays.preview\(\) .*{message}"):
        await replays.preview("shop.plain", **where)
    with pytest.raises(UnknownOption, match=rf"replays.start\(\) .*{message}"):
        await replays.start("shop.plain", actor=DUTY, **where)
    assert await stage.value("SELECT count(*) FROM events.replay") == 0


async def test_filters_narrow_what_is_counted_and_what_is_delivered(stage: Stage) -> None:
    events = await shop(stage)
    replays = events.operations.replays
    first = await stage.rows("SELECT * FROM events.event WHERE tenant_id = 'acme' ORDER BY position LIMIT 1")
    assert (await replays.preview("shop.wild")).count == 9
    for where, count in (
        ({"events": ["shop.page.pinged", "shop.order.shipped"]}, 2),
        ({"tenant_id": "acme"}, 4),
        ({"aggregate": "order", "aggregate_id": "o0"}, 3),
        ({"key": first[0]["key"]}, 1),
        ({"correlation_id": first[0]["correlation_id"]}, 1),
        ({"from_position": first[0]["position"], "to_position": first[0]["position"]}, 1),
        ({"since": first[0]["published_at"]}, 9),
        ({"until": first[0]["published_at"]}, 0),
    ):
        assert (await replays.preview("shop.wild", **where)).count == count, where
        if count:
            replay = await replays.start("shop.wild", actor=DUTY, **where)
            assert await settled(events, replay.id) == "done"
            assert (await replays.get(replay.id)).done == count, where


async def test_many_events_and_effects_need_the_count_that_was_looked_at(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = await shop(stage)
    replays = events.operations.replays
    preview = await replays.preview("shop.charge", rate=2)
    assert (preview.count, preview.transactional, preview.seconds) == (7, True, 3.5)
    assert "applied again" in preview.warnings[0]
    with pytest.raises(OperationRefused, match=r"7 events .* pass expected=7"):
        await replays.start("shop.charge", actor=DUTY)
    monkeypatch.setattr(limits, "MOST_UNCONFIRMED", 5)
    with pytest.raises(OperationRefused, match=r"7 events .* pass expected=7"):
        await replays.start("shop.plain", actor=DUTY)
    monkeypatch.setattr(limits, "MOST_EVENTS", 6)
    with pytest.raises(OperationRefused, match=r"More than 6 events match"):
        await replays.start("shop.plain", actor=DUTY, expected=7)
    assert (await replays.preview("shop.plain")).capped
    with pytest.raises(OperationRefused, match="actor is empty"):
        await replays.start("shop.plain", actor=" ")


@pytest.mark.parametrize(("expected", "most"), [(0, 0), (1, 2), (4, 5), (31, 35), (100, 110)])
async def test_more_than_was_confirmed_is_not_started(stage: Stage, expected: int, most: int) -> None:
    events = await stage.idle(collecting([]))
    await publish(events, [Placed(order="o", number=n) for n in range(most + 1)])
    await events.drain_once()
    replays, last = events.operations.replays, await stage.value("SELECT max(position) FROM events.event")
    with pytest.raises(OperationRefused, match=f"{most + 1} events match now, but {expected} were confirmed"):
        await replays.start("shop.placed", actor=DUTY, expected=expected)
    if most:
        await replays.start("shop.placed", actor=DUTY, expected=expected, to_position=last - 1)


@pytest.mark.parametrize("expected", [-1, "7", 7.0, True])
async def test_what_is_no_count_confirms_nothing(stage: Stage, expected: Any) -> None:
    events = await shop(stage)
    with pytest.raises(OperationRefused, match="is no count of events, which is a whole number from 0"):
        await events.operations.replays.start("shop.plain", actor=DUTY, expected=expected)


async def test_one_replay_at_a_time_of_each_handler(stage: Stage) -> None:
    events = await shop(stage)
    replays = events.operations.replays
    replay = await replays.start("shop.plain", actor=DUTY)
    assert await replays.pause(replay.id, actor=DUTY)
    with pytest.raises(OperationRefused, match=r"A replay of 'shop.plain' goes on or is paused"):
        await replays.start("shop.plain", actor=DUTY)
    await replays.start("shop.wild", actor=DUTY)
    assert [view.handler for view in await replays.list()] == ["shop.wild", "shop.plain"]
    assert await replays.cancel(replay.id, actor=DUTY)
    await replays.start("shop.plain", actor=DUTY)
    with pytest.raises(NotFound):
        await replays.get(UUID(int=7))
    with pytest.raises(OperationRefused, match="no replay id"):
        await replays.pause("x", actor=DUTY)


async def test_people_of_a_tenant_replay_and_see_theirs_alone(stage: Stage) -> None:
    events = await shop(stage)
    own, foreign = events.operations.within("acme").replays, events.operations.within("umbrella").replays
    assert (await own.preview("shop.plain")).count == 4
    assert (await own.preview("shop.plain", tenant_id="umbrella")).count == 0
    replay = await own.start("shop.plain", actor=DUTY)
    assert (replay.total, replay.tenants) == (4, ("acme",))
    assert await foreign.list() == []
    for act in (foreign.pause, foreign.resume, foreign.cancel):
        with pytest.raises(NotFound):
            await act(replay.id, actor=DUTY)
    with pytest.raises(NotFound):
        await foreign.get(replay.id)
    assert await settled(events, replay.id) == "done"
    assert (await own.get(replay.id)).done == 4
    whole = await events.operations.replays.start("shop.plain", actor=DUTY)
    assert await own.list() == [await own.get(replay.id)]
    with pytest.raises(NotFound):
        await own.cancel(whole.id, actor=DUTY)
    actions = [action.action for action in await events.operations.within("acme").actions()]
    assert actions == ["start_replay"]


async def test_a_renamed_handler_keeps_its_replay(stage: Stage) -> None:
    seen: list[int] = []

    async def handle(event: Placed) -> None:
        seen.append(event.number)

    old, new = Module("shop"), Module("shop")
    old.on(Placed, id="shop.old")(handle)
    new.on(Placed, id="shop.new", was=["shop.old"])(handle)
    events = await stage.idle(old)
    await publish(events, [Placed(order="o", number=n) for n in range(3)])
    await events.drain_once()
    replay = await events.operations.replays.start("shop.old", actor=DUTY)
    await events.stop()
    renamed = await stage.idle(new)
    assert await settled(renamed, replay.id) == "done"
    assert (seen, (await renamed.operations.replays.get(replay.id)).handler) == ([0, 1, 2] * 2, "shop.new")


async def test_a_replay_that_would_flood_the_dead_letters_stands_still(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi_events.api import replay_views
    from fastapi_events.store import replay_shares, replays

    for module in (replay_shares, replays, replay_views):
        monkeypatch.setattr(module, "MOST_OPEN", 5)
    shop_module, broken = Module("shop"), False

    @shop_module.on(Pinged, id="shop.fails")
    async def fails(event: Pinged) -> None:
        if broken:
            raise RuntimeError("no")

    events = await stage.idle(shop_module, max_attempts=1)
    await publish(events, [Pinged(number=n) for n in range(200)])
    await events.drain_once()
    broken = True
    replay = await events.operations.replays.start("shop.fails", actor=DUTY)
    assert await settled(events, replay.id) == "running"
    view = await events.operations.replays.get(replay.id)
    assert view.held
    assert 5 <= view.failed < 100, "each hand has had a share at most"
    broken = False
    dead = await stage.rows("SELECT id FROM events.delivery WHERE state = 'dead'")
    await events.operations.discard([row["id"] for row in dead], actor=DUTY, reason="enough")
    assert await settled(events, replay.id) == "done"


async def test_retention_keeps_what_a_replay_has_still_to_read(stage: Stage) -> None:
    events = await shop(stage)
    await stage.rows("UPDATE events.event SET published_at = published_at - interval '400 days'")
    replay = await events.operations.replays.start("shop.plain", actor=DUTY)
    assert not (await events.runtime.pruner.prune()).rows.get("event")
    assert await settled(events, replay.id) == "done"
    assert (await events.operations.replays.get(replay.id)).done == 7
    assert (await events.runtime.pruner.prune()).rows.get("event") == 9
