"""Replays: history given again to one handler, beside what is live."""

from uuid import UUID

import pytest

from fastapi_events import Delivery, Events, HandlerSession, Module
from fastapi_events.errors import OperationRefused
from tests.delivery.stage import Placed, Stage, effect, publish

DUTY = "cli:duty"


async def settled(events: Events, replay: UUID) -> str:
    """Work until the replay is at its end or can't go on; returns its state."""
    while await events.drain_once():
        pass
    return (await events.operations.replays.get(replay)).state


async def test_a_replay_delivers_history_again_to_one_handler_with_its_id(stage: Stage) -> None:
    told: list[tuple[int, UUID | None, bool]] = []
    other: list[int] = []
    module = Module("shop")

    @module.on(Placed, id="shop.first")
    async def first(event: Placed, delivery: Delivery) -> None:
        told.append((event.number, delivery.replay_id, delivery.redelivered))

    @module.on(Placed, id="shop.second")
    async def second(event: Placed) -> None:
        other.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order=f"o{n % 3}", number=n) for n in range(30)])
    await events.drain_once()
    told.clear()
    preview = await events.operations.replays.preview("shop.first")
    assert (preview.count, preview.transactional) == (30, False)
    replay = await events.operations.replays.start("shop.first", actor=DUTY, reason="a test")
    assert replay.total == 30
    assert await settled(events, replay.id) == "done"
    assert sorted(number for number, _, _ in told) == list(range(30))
    assert {replay_id for _, replay_id, _ in told} == {replay.id}
    for key in range(3):
        assert [n for n, _, _ in told if n % 3 == key] == [n for n in range(30) if n % 3 == key]
    assert sorted(other) == list(range(30))
    view = await events.operations.replays.get(replay.id)
    assert (view.done, view.failed, view.waiting, view.dead, view.share, view.reached) == (30, 0, 0, 0, 1.0, None)


async def test_effects_are_applied_once_per_replay_although_a_chunk_is_delivered_twice(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, id="shop.charge")
    async def charge(event: Placed, session: HandlerSession) -> None:
        await effect(session, "charge", event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="o", number=n) for n in range(5)])
    await events.drain_once()
    replays = events.operations.replays
    with pytest.raises(OperationRefused, match=r"5 events .*applied again.*expected=5"):
        await replays.start("shop.charge", actor=DUTY)
    for round_number in (2, 3):
        replay = await replays.start("shop.charge", actor=DUTY, expected=5)
        # A process that dies before it could record its chunk: the share is where it was, and is taken again.
        assert await settled(events, replay.id) == "done"
        await stage.rows(
            "UPDATE events.replay_share SET position = -1, finished = false, token = token + 1 WHERE replay_id = $1",
            replay.id,
        )
        await stage.rows("UPDATE events.replay SET state = 'running' WHERE id = $1", replay.id)
        assert await settled(events, replay.id) == "done"
        rows = await stage.rows("SELECT number, count(*) AS n FROM effect GROUP BY number ORDER BY number")
        assert [(row["number"], row["n"]) for row in rows] == [(n, round_number) for n in range(5)]
