"""Notifications that nothing stands behind are looked into less and less often, and an event among them is found."""

from collections.abc import Sequence

from fastapi_events import Module
from fastapi_events.engine.wake import Pace
from tests.delivery.stage import Pinged, Stage, publish, until


def test_the_pause_grows_while_nothing_is_found_and_ends_with_work_or_quiet() -> None:
    pace = Pace()
    pauses = []
    for _ in range(20):
        pauses.append(pace.pause)
        pace.note(waited=0.0, found=0)
    assert pauses[: Pace.FREE] == [0.0] * Pace.FREE
    assert pauses == sorted(pauses)
    assert pauses[Pace.FREE] == Pace.FIRST
    assert pauses[-1] == Pace.LONGEST
    pace.note(waited=0.0, found=3)
    assert pace.pause == 0.0
    for _ in range(20):
        pace.note(waited=0.0, found=0)
    pace.note(waited=0.1, found=0)
    assert pace.pause == 0.0


async def test_a_flood_is_not_answered_search_by_search(stage: Stage) -> None:
    module, seen, searches = Module("shop"), [], 0

    @module.on(Pinged)
    async def handle(event: Pinged) -> None:
        seen.append(event.number)

    events = await stage.running(module, poll_interval=60.0)
    await until(lambda: events.runtime.listening)
    drain = next(loop for loop in events.runtime.drain_loops if "change" in loop.name)
    searching = drain.drain

    async def counted(where: Sequence[int] | None = None) -> int:
        nonlocal searches
        searches += 1
        return await searching(where)

    drain.drain = counted  # type: ignore[method-assign]
    await publish(events, [Pinged(number=0)])
    await until(lambda: seen == [0])
    sent = 0
    while drain._pace.pause < Pace.LONGEST:
        await stage.rows("SELECT pg_notify($1, $2)", events.runtime.channel, f"1,{sent}")
        sent += 1
        assert sent < 100_000
    before = searches
    for number in range(200):
        await stage.rows("SELECT pg_notify($1, $2)", events.runtime.channel, f"1,{number}")
    assert searches - before < 100
    await publish(events, [Pinged(number=1)])
    await until(lambda: seen == [0, 1])
