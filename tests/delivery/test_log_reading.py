"""Nothing is skipped and nothing waits for a stranger: transactions that commit late, roll back, or nest."""

import asyncpg

from fastapi_events import Events, Module
from tests.delivery.stage import Placed, Stage, publish


def collecting(seen: list[tuple[str, int]]) -> Module:
    module = Module("shop")

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append((event.order, event.number))

    return module


async def test_a_transaction_that_commits_late_is_neither_skipped_nor_waited_for(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    events = await stage.idle(collecting(seen))
    async with events.session() as late:
        await (await late.connection()).exec_driver_sql("SELECT pg_current_xact_id()")
        await events.publisher(late)(Placed(order="late", number=1), event_id=None)
        await late.flush()
        await force_append(events, late, Placed(order="late", number=2))
        for number in range(3):
            await publish(events, [Placed(order="early", number=number)])
            await events.drain_once()
        assert seen == [("early", 0), ("early", 1), ("early", 2)]
        await late.commit()
    await events.drain_once()
    assert sorted(seen[3:]) == [("late", 1), ("late", 2)]
    await events.drain_once()
    assert len(seen) == 5


async def force_append(events: Events, session: object, event: Placed) -> None:
    """Append now: a given id makes the publisher insert at once, so that the position is drawn early."""
    from uuid import uuid4

    await events.publisher(session)(event, event_id=uuid4())  # type: ignore[arg-type]


async def test_late_and_new_events_of_one_key_come_in_position_order(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    events = await stage.idle(collecting(seen))
    async with events.session() as late:
        await force_append(events, late, Placed(order="a", number=1))
        await publish(events, [Placed(order="a", number=2)])
        await events.drain_once()
        await publish(events, [Placed(order="a", number=3)])
        await late.commit()
    await publish(events, [Placed(order="a", number=4)])
    await events.drain_once()
    assert [number for _, number in seen] == [2, 1, 3, 4]


async def test_several_late_transactions_each_arrive_once_whatever_their_order(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    events = await stage.idle(collecting(seen), batch_size=2)
    sessions = [events.session() for _ in range(4)]
    for number, session in enumerate(sessions):
        for part in range(3):
            await force_append(events, session, Placed(order=f"{number}-{part}", number=number))
    for number in (2, 0, 3):
        await publish(events, [Placed(order=f"x{number}", number=100 + number)])
        await sessions[number].commit()
        await events.drain_once()
    await sessions[1].rollback()
    await events.drain_once()
    for session in sessions:
        await session.close()
    assert sorted(number for _, number in seen) == [0, 0, 0, 2, 2, 2, 3, 3, 3, 100, 102, 103]


async def test_a_rolled_back_transaction_leaves_no_trace_and_no_hole_to_wait_for(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    events = await stage.idle(collecting(seen))
    async with events.session() as session:
        await force_append(events, session, Placed(order="a", number=1))
        await session.rollback()
    await publish(events, [Placed(order="a", number=2)])
    await events.drain_once()
    assert seen == [("a", 2)]


async def test_rows_of_savepoints_belong_to_their_outermost_transaction(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    events = await stage.idle(collecting(seen))
    async with events.session() as session:
        async with session.begin_nested():
            await force_append(events, session, Placed(order="a", number=1))
        nested = await session.begin_nested()
        await force_append(events, session, Placed(order="a", number=2))
        await nested.rollback()
        await force_append(events, session, Placed(order="a", number=3))
        await events.drain_once()
        assert seen == []
        await session.commit()
    await events.drain_once()
    assert seen == [("a", 1), ("a", 3)]


async def test_a_prepared_transaction_is_delivered_when_it_commits(stage: Stage) -> None:
    if await stage.value("SHOW max_prepared_transactions") == "0":
        # Two-phase commit is off by default; the same path is then a transaction that commits very late.
        return
    raise AssertionError("this server has two-phase commit: say here what it shall do")


async def test_an_open_snapshot_in_another_session_holds_nothing_up(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    events = await stage.idle(collecting(seen))
    other = await asyncpg.connect(stage.url)
    async with other.transaction(isolation="repeatable_read"):
        await other.fetchval("SELECT count(*) FROM events.event")
        for number in range(3):
            await publish(events, [Placed(order="a", number=number)])
            await events.drain_once()
    await other.close()
    assert [number for _, number in seen] == [0, 1, 2]


async def test_a_backlog_is_read_to_its_end_in_many_batches(stage: Stage) -> None:
    seen: list[tuple[str, int]] = []
    events = await stage.idle(collecting(seen), batch_size=50)
    await publish(events, [Placed(order=str(number % 17), number=number) for number in range(1000)])
    assert await events.drain_once() == 1000
    assert sorted(number for _, number in seen) == list(range(1000))
    assert await events.drain_once() == 0
