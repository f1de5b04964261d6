"""Batch handlers in a replay: lists of one, with marks of the replay's own."""

from uuid import UUID

from fastapi_events import Delivery, HandlerSession, Module, Retry
from tests.delivery.stage import Placed, Stage, effect, publish
from tests.replays.test_replaying import DUTY, settled

EFFECTS = "SELECT coalesce(array_agg(number ORDER BY number), '{}') FROM effect"


async def test_a_batch_handler_is_given_history_in_lists_of_one_once_per_replay(stage: Stage) -> None:
    lists: list[list[int]] = []
    told: set[UUID | None] = set()
    broken = True
    module = Module("shop")

    @module.on(Placed, id="shop.project", batch=100, retry=Retry(max_attempts=1))
    async def project(events: list[Placed], session: HandlerSession, deliveries: list[Delivery]) -> None:
        lists.append([event.number for event in events])
        told.update(delivery.replay_id for delivery in deliveries)
        for event in events:
            await effect(session, "project", event.number)
        if told != {None} and broken and events[0].number == 1:
            raise RuntimeError("it fails when it is replayed")

    events = await stage.idle(module)
    await publish(events, [Placed(order="o", number=n) for n in range(3)])
    await events.drain_once()
    assert lists == [[0, 1, 2]]
    replay = await events.operations.replays.start("shop.project", actor=DUTY, expected=3)
    assert await settled(events, replay.id) == "done"
    assert lists[1:] == [[0], [1]]
    broken = False
    [dead] = (await events.observe.dead_letters()).dead_letters
    await events.operations.redrive([dead.id], actor=DUTY)
    await events.drain_once()
    assert lists[3:] == [[1], [2]]
    assert told == {None, replay.id}
    assert await stage.value(EFFECTS) == [0, 0, 1, 1, 2, 2]
    assert (
        await stage.value(
            "SELECT count(*) FROM events.processing_mark WHERE outcome = 'd' AND replay_id = $1", replay.id
        )
        == 3
    )
