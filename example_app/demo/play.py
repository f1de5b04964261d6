"""The play: let customers in, wait until everything they set off has come to its end, close the day, and judge."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

from example_app.composition import events
from example_app.demo.children import ChildEnded
from example_app.demo.figures import History
from example_app.demo.judge import Judge
from example_app.demo.reporting import close_the_day
from example_app.demo.screen import Screen
from example_app.demo.stage import Stage, open_shop
from example_app.demo.traffic import Traffic

SETTLED_WITHIN = 30.0
"""Seconds that the last orders get to come to their end."""


async def play(folder: Path, *, seconds: float | None, per_second: float) -> int:
    """Let customers in for ``seconds``, or until Ctrl-C, and return the exit status."""
    screen = Screen()
    ending = _ending_on_signals()
    try:
        async with open_shop(folder) as stage:
            await stage.ready()
            _welcome(stage, screen, seconds)
            return await _perform(stage, screen, ending, seconds, per_second)
    except (ChildEnded, TimeoutError) as error:
        screen.say(f"✗ {error or 'The shop was not ready in time.'}")
        return 1
    except asyncio.CancelledError:
        screen.say("Stopped.")
        return 130


def _ending_on_signals() -> asyncio.Event:
    """The first Ctrl-C ends the traffic, the second the waiting too. Either way the processes are stopped."""
    loop, play_task, ending = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def end() -> None:
        if ending.is_set() and play_task is not None:
            play_task.cancel()
        ending.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    return ending


def _welcome(stage: Stage, screen: Screen, seconds: float | None) -> None:
    base = str(stage.client.base_url).rstrip("/")
    screen.say(f"The shop is open{'; Ctrl-C closes it' if seconds is None else f' for {seconds:g} seconds'}.")
    screen.say(f"  API        {base}/docs")
    screen.say(f"  Dashboard  {base}{events.prefix}/dashboard")


async def _perform(
    stage: Stage, screen: Screen, ending: asyncio.Event, seconds: float | None, per_second: float
) -> int:
    judge = Judge(stage, Traffic(run=uuid4().hex[:8]))
    await judge.begin()
    with screen.live():
        (await stage.client.post("/stock/DESK/restocks")).raise_for_status()  # one by hand
        async with _customers(stage, judge.traffic, per_second):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await _watch(stage, screen, judge.traffic, judge.history, ending)
        broken = await _settled(stage, judge.orders)
        report = await close_the_day(stage.client)
        broken += await _settled(stage, lambda: judge.report(report))
    problems = [*judge.traffic.failures, *broken]
    screen.summary(judge.traffic, await judge.history.read(), await judge.work(), problems)
    return 1 if problems else 0


@asynccontextmanager
async def _customers(stage: Stage, traffic: Traffic, per_second: float) -> AsyncGenerator[None]:
    closing = asyncio.Event()
    customers = asyncio.create_task(traffic.flow(stage.client, closing, per_second=per_second))
    try:
        yield
    finally:
        closing.set()
        await customers


async def _watch(stage: Stage, screen: Screen, traffic: Traffic, history: History, ending: asyncio.Event) -> None:
    while not ending.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await ending.wait()
        stage.check()
        screen.status(traffic, await history.read())


async def _settled(stage: Stage, judged: Callable[[], Awaitable[list[str]]]) -> list[str]:
    """Wait until every promise is kept, or time is up; return what is still broken then."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SETTLED_WITHIN
    while True:
        stage.check()
        broken = await judged()
        if not broken or loop.time() > deadline:
            return broken
        await asyncio.sleep(0.5)
