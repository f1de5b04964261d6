"""How many partitions a process takes where several serve a lane."""

from typing import Any

from fastapi_events import Module
from fastapi_events.engine.batch_reader import BatchReader
from tests.delivery.stage import Placed, Stage, publish

ANOTHER = """
    INSERT INTO events.worker (id, group_id, host, pid, drains, lanes, release, connections, lease_until)
    SELECT gen_random_uuid(), id, 'elsewhere', 1, true, $1, '1', 1, clock_timestamp() + interval '1 h'
    FROM events.consumer_group
"""


async def reader_of(stage: Stage, *others: list[int], patience: float) -> BatchReader:
    """A reader of the change lane with events in each of its partitions, beside workers that serve these lanes."""
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed) -> None: ...

    events = await stage.idle(module)
    await publish(events, [Placed(order=str(number)) for number in range(300)])
    events.runtime.make_drains()
    await stage.rows("UPDATE events.worker SET lanes = '{0,1,2}', drains = true")
    for lanes in others:
        await stage.rows(ANOTHER, lanes)
    [drain] = [loop for loop in events.runtime.drain_loops if loop._lane == 1]
    cursors: Any = drain._cursors
    return BatchReader("reader", cursors, 500, lambda: patience)


async def test_partitions_are_shared_by_those_who_serve_the_lane(stage: Stage) -> None:
    reader = await reader_of(stage, [1, 2], [0, 1], patience=60.0)
    batch = await reader.read((), None)
    assert batch.workers == 3
    assert len(batch.partitions) == 11  # of 32


async def test_those_who_serve_other_lanes_only_have_no_share(stage: Stage) -> None:
    reader = await reader_of(stage, [0, 2], [0], [], patience=60.0)
    batch = await reader.read((), None)
    assert batch.workers == 1
    assert len(batch.partitions) == 32


async def test_what_nobody_takes_is_taken_beyond_the_fair_share(stage: Stage) -> None:
    reader = await reader_of(stage, [1], [1], [1], patience=0.0)
    batch = await reader.read((), None)
    assert batch.workers == 4
    assert len(batch.partitions) == 32
