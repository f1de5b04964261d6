"""A process that only handles events."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Any, NoReturn

from fastapi_events.cli.database_problems import DatabaseProblem, address_of, database_problems
from fastapi_events.cli.inventory import inventory_of
from fastapi_events.engine.collector import calm_collector
from fastapi_events.errors import EventsError

logger = logging.getLogger("fastapi_events")

INTERRUPTED = 130


def run_worker(events: Any) -> int:
    """Run until a signal; returns the exit status: 0 after a stop in good order, 130 after a second signal."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(events))
    except EventsError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    except DatabaseProblem as error:
        sys.stderr.write(f"{error}\n")
        return 1


def end_at_once(status: int) -> NoReturn:
    """End the process without waiting for handlers in threads, which nothing can interrupt."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


async def _serve(events: Any) -> int:
    loop, stop, hurry = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    starting = asyncio.create_task(events.start(drains=True))
    await _first(starting, stop)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return 0
    if starting.exception() is not None:
        with database_problems(address_of(events.settings, events)):
            starting.result()
    calm_collector()
    logger.info("worker of group %r started: %s", events.group, inventory_of(events))
    await stop.wait()
    logger.info("stopping: nothing new is claimed; running handlers have %g s", events.settings.shutdown_grace)
    stopping = asyncio.create_task(events.stop())
    await _first(stopping, hurry)
    if not stopping.done():
        logger.warning("stopped at once by a second signal; what was running is taken over when its lease ends")
        return INTERRUPTED
    stopping.result()
    logger.info("stopped")
    return 0


async def _first(task: asyncio.Task[Any], flag: asyncio.Event) -> None:
    waiting = asyncio.create_task(flag.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _loop_factory() -> Any:
    """uvloop where it is installed: the same loop that uvicorn would choose."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
