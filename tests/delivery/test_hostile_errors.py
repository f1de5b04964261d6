"""Whatever a handler raises is recorded, bounded and safe to show, and ends neither the batch nor the process."""

import asyncio
import time
from typing import Any

import pytest

from fastapi_events import DeadLetter, Discard, Module, Retry, fixed
from fastapi_events.engine.dispatch import LaneChain
from fastapi_events.model.retry import Backoff
from tests.delivery.stage import Placed, Stage, publish, until, within


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class NotText(Exception):
    def __str__(self) -> str:
        return 42  # type: ignore[return-value]  # noqa: PLE0307


class Hostile(Exception):
    """Every attribute that a classifier may look at raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


class OwnBase(BaseException):
    pass


def cyclic() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def deep() -> BaseException:
    error: BaseException = ValueError("root")
    for number in range(2000):
        outer = ValueError(f"level {number}")
        outer.__cause__ = error
        error = outer
    return error


ERRORS: dict[str, Any] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "CancelledError": asyncio.CancelledError,
    "own BaseException": lambda: OwnBase("mine"),
    "group": lambda: BaseExceptionGroup("several", [SystemExit(1), ValueError("x")]),
    "unprintable": Unprintable,
    "not text": NotText,
    "hostile attributes": Hostile,
    "50 MB": lambda: ValueError("x" * 50_000_000),
    "NUL": lambda: ValueError("before\x00after"),
    "surrogate": lambda: ValueError("half \ud800 a pair"),
    "ANSI": lambda: ValueError("\x1b[2J\x1b]0;owned\x07"),
    "bytes": lambda: ValueError(bytes(range(256))),
    "cyclic": cyclic,
    "deep": deep,
}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "def"])
async def test_an_error_of_any_kind_is_one_attempt_and_a_bounded_record(
    stage: Stage, kind: str, is_async: bool
) -> None:
    module, seen = Module("shop"), []

    def work(event: Placed) -> None:
        seen.append(event.order)
        if event.order == "bad":
            error = ERRORS[kind]()
            raise error

    async def in_loop(event: Placed) -> None:
        work(event)

    def in_thread(event: Placed) -> None:
        work(event)

    module.on(Placed, id="shop.handle", retry=Retry(2, fixed(0)))(in_loop if is_async else in_thread)
    events = await stage.idle(module)
    await publish(events, [Placed(order="bad"), Placed(order="good")])
    await within(events.drain_once(), 10)
    assert sorted(seen) == ["bad", "bad", "good"]
    [row] = await stage.deliveries()
    assert (row["state"], row["reason"], row["attempts"]) == ("dead", "max_attempts", 2)
    assert len(row["error_message"]) <= 8_000
    for attempt in await stage.rows("SELECT * FROM events.attempt"):
        assert len(attempt["traceback"]) <= 32_000
        assert not any(sign in attempt["traceback"] + attempt["error_message"] for sign in "\x00\x1b\x07")
    assert row["error_type"]


async def test_a_handler_that_cancels_its_own_task_is_a_failed_attempt(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(2, fixed(0)))
    async def handle(event: Placed) -> None:
        seen.append(event.order)
        if event.order == "bad":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    events = await stage.idle(module)
    await publish(events, [Placed(order="bad"), Placed(order="a"), Placed(order="b")])
    await within(events.drain_once(), 10)
    assert sorted(seen) == ["a", "b", "bad", "bad"]
    [row] = await stage.deliveries()
    assert (row["state"], row["error_type"].endswith("CancelledError")) == ("dead", True)


class Unspeakable:
    """A reason that nobody can read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("steering", [Discard, DeadLetter])
async def test_a_reason_that_cannot_be_shown_ends_nothing_but_its_delivery(stage: Stage, steering: Any) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        if event.number == 0:
            raise steering(Unspeakable())
        seen.append(event.number)

    events = await stage.running(module)
    await publish(events, [Placed(order=str(number), number=number) for number in range(5)])
    await until(lambda: sorted(seen) == [1, 2, 3, 4])
    [row] = await until(stage.deliveries)
    assert row["state"] == ("discarded" if steering is Discard else "dead")
    assert "cannot be shown as text" in (row["note"] or row["error_message"])


async def test_a_handler_that_cancels_its_own_task_ends_nothing(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.number)
        time.sleep(0.02)  # noqa: ASYNC251 - longer than a hand works without a pause
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    events = await stage.running(module, lanes=["change"], concurrency={"events_change": 1})
    await publish(events, [Placed(order=str(number), number=number) for number in range(5)])
    await until(lambda: len(seen) >= 5)
    await publish(events, [Placed(order="a", number=5)])
    await until(lambda: 5 in seen)
    assert sorted(seen) == [0, 1, 2, 3, 4, 5]
    assert await stage.deliveries() == []


async def test_a_retry_policy_that_raises_is_a_dead_letter_and_ends_nothing(stage: Stage) -> None:
    class Broken(Backoff):
        def delay(self, attempt: int, **_: Any) -> float:
            raise RuntimeError("no delay")

    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(3, Broken("fixed", 0.0, 0.0, jitter=False)))
    async def handle(event: Placed) -> None:
        if event.number == 0:
            raise ValueError("broken")
        seen.append(event.number)

    events = await stage.running(module)
    await publish(events, [Placed(order=str(number), number=number) for number in range(3)])
    await until(lambda: sorted(seen) == [1, 2])
    [dead] = await until(lambda: stage.deliveries("dead"))
    assert (dead["reason"], dead["error_message"]) == ("gave_up", "no delay")


async def test_a_defect_of_ours_is_told_and_the_batch_is_read_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module, seen, broken = Module("shop"), [], [True]

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    settle = LaneChain.settle

    def failing(chain: LaneChain, run: Any, outcome: Any) -> None:
        if broken.pop() if broken else False:
            raise RuntimeError("a defect")
        settle(chain, run, outcome)

    monkeypatch.setattr(LaneChain, "settle", failing)
    events = await stage.running(module, lease=0.5, heartbeat=0.1)
    await publish(events, [Placed(order=str(number), number=number) for number in range(3)])
    await until(lambda: {0, 1, 2} <= set(seen) and len(seen) > 3)
    assert "a defect" in caplog.text
    await until(lambda: stage.value("SELECT sum(remaining) = 0 FROM events.cursor_log WHERE lease_until IS NULL"))
