"""What a process cannot read, and what a defect takes with it: told with the event's id, counted, and that is it."""

import asyncio
import logging
from typing import Annotated, Any

import pytest

from fastapi_events import Event, Module, Secret
from fastapi_events.engine import secrecy
from fastapi_events.engine.broadcasting import feed
from tests.broadcast.test_failures import lines
from tests.broadcast.test_hearing import hearing, numbered
from tests.delivery.stage import SLOW, Stage, publish, until, within


class Lent(Event, name="min.book.lent", version=2, aggregate_id="book"):
    """Version 1 had no days."""

    book: str
    days: int
    card: Annotated[str, Secret] = "none"


async def lend(events: Any, *versions: int) -> list[str]:
    """Publish one event of each version in one transaction, all of one key; returns their ids."""
    async with events.session() as session:
        publish = events.publisher(session)
        made = [
            await publish(Lent(book="b", days=day))
            if version == 2
            else await publish.raw(
                "min.book.lent", {"book": "b", "card": "4444-5555"}, version=version, aggregate_id="b"
            )
            for day, version in enumerate(versions)
        ]
        await session.commit()
    return [str(one.event_id) for one in made]


def lending(heard: list[int], error: BaseException | None = None, **options: Any) -> Module:
    module = Module("min")

    @module.upcast(Lent, from_version=1)
    def add_days(payload: dict[str, Any]) -> dict[str, Any]:
        if error is not None:
            raise error
        return payload | {"days": 100}

    @module.on(Lent, id="min.count", **options)
    async def count(event: Lent) -> None:
        heard.append(event.days)

    return module


async def test_an_older_version_is_heard_in_its_place_by_a_process_that_runs(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    events = await stage.idle(lending(heard, broadcast=True), **SLOW)
    await lend(events, 2, 1, 2)
    await until(lambda: heard == [0, 100, 2])
    assert events.runtime.counters.broadcast_failures == 0
    assert lines(caplog) == []


async def test_a_newer_version_is_skipped_counted_and_told_of_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    events = await stage.idle(lending(heard, broadcast=True), heartbeat=0.05)
    _, newer, _ = await lend(events, 2, 3, 2)
    await until(lambda: heard == [0, 2])
    [line] = lines(caplog)
    assert line == (
        f"broadcast handler min.count: skipped min.book.lent {newer} in this process: it is version 3, and this "
        "process reads version 2 and older"
    )
    assert (events.runtime.counters.broadcast_failures, events.runtime.counters.broadcast_skipped) == (0, 1)

    async def concerned() -> bool:
        concerns = (await events.observe.overview()).concerns
        return any("newer version than they read" in concern.why for concern in concerns)

    await until(concerned)


@pytest.mark.parametrize("error", [LookupError("no days for 4444-5555"), SystemExit("4444-5555"), KeyboardInterrupt()])
async def test_an_upcaster_that_fails_costs_its_event_alone(
    stage: Stage, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    heard: list[int] = []
    events = await stage.idle(lending(heard, error, broadcast=True), enabled=False)
    _, bad, _ = await lend(events, 2, 1, 2)
    await events.drain_once()
    assert heard == [0, 2]
    assert (events.runtime.counters.broadcast_failures, events.runtime.counters.broadcast_skipped) == (1, 0)
    [line] = lines(caplog)
    assert bad in line
    assert type(error).__name__ in line
    assert "4444-5555" not in line


@pytest.mark.parametrize("batch", [None, 10])
async def test_an_upcaster_that_ends_the_process_costs_an_ordinary_handler_its_event_alone(
    stage: Stage, batch: int | None
) -> None:
    heard: list[int] = []
    module = lending(heard, SystemExit("4444-5555")) if batch is None else in_lists(heard)
    events = await stage.idle(module, max_attempts=1)
    await lend(events, 2)
    await lend(events, 1)
    await within(events.drain_once())
    [dead] = await stage.deliveries("dead")
    assert heard == [0]
    [attempt] = await stage.rows("SELECT error_type, error_message, traceback FROM events.attempt")
    assert (dead["reason"], attempt["error_type"]) == ("max_attempts", "SystemExit")
    assert attempt["error_message"] == "••••••"
    assert "4444-5555" not in attempt["traceback"]


def in_lists(heard: list[int]) -> Module:
    module = Module("min")

    @module.upcast(Lent, from_version=1)
    def add_days(payload: dict[str, Any]) -> dict[str, Any]:
        raise SystemExit(payload["card"])

    @module.on(Lent, id="min.count", batch=10)
    async def count(events: list[Lent]) -> None:
        heard.extend(event.days for event in events)

    return module


async def test_where_secrets_cannot_be_looked_for_nothing_is_shown(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = lending([])

    @module.on(Lent, id="min.fails", broadcast=True)
    async def fails(event: Lent) -> None:
        raise LookupError(event.card)

    def defect(*_: Any) -> Any:
        raise KeyError("a column")

    monkeypatch.setattr(secrecy, "_secrets", defect)
    events = await stage.idle(module, enabled=False)
    await publish(events, [Lent(book="b", days=1, card="4444-5555")])
    await events.drain_once()
    defective, failed = lines(caplog)
    assert "secrets of min.book.lent" in defective
    assert "KeyError" in defective
    assert f"LookupError: {secrecy.WITHHELD}" in failed
    assert "4444-5555" not in caplog.text


async def test_a_defect_is_told_with_what_it_took_and_the_rest_is_heard(
    stage: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    events = await stage.idle(hearing(heard), enabled=False)
    run, calls = events.runtime.executor.run, list[int]()

    async def defective(attempt: Any) -> Any:
        calls.append(attempt.item.position)
        if len(calls) == 1:
            raise KeyError("a column")
        return await run(attempt)

    monkeypatch.setattr(events.runtime.executor, "run", defective)
    await numbered(events, 1, 2)
    with pytest.raises(RuntimeError, match="could not be worked through"):
        await events.drain_once()
    await numbered(events, 3)
    await within(events.drain_once())
    assert heard == [3]
    assert events.runtime.counters.broadcast_failures == 2
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    ids = [row["id"] for row in await stage.rows("SELECT id FROM events.event ORDER BY position LIMIT 2")]
    assert "2 event(s) dropped" in record.getMessage()
    assert all(str(one) in record.getMessage() for one in ids)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


async def test_after_a_defect_there_is_room_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is as far behind as it may be waits for its handler: with one that a defect ended, for ever."""
    heard: list[int] = []
    monkeypatch.setattr(feed, "ROOM", 2)
    events = await stage.idle(hearing(heard), batch_size=1, **SLOW)
    run, gate, calls = events.runtime.executor.run, asyncio.Event(), list[int]()
    [only] = events.runtime.broadcasts._feeds

    async def defective(attempt: Any) -> Any:
        calls.append(attempt.item.position)
        if len(calls) == 1:
            await gate.wait()
            raise KeyError("a column")
        return await run(attempt)

    monkeypatch.setattr(events.runtime.executor, "run", defective)
    await numbered(events, 1, 2)
    await until(lambda: len(only._waiting) == 2)
    await numbered(events, 3, 4)
    gate.set()
    await until(lambda: heard == [3, 4])
    await within(events.stop())
