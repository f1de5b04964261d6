"""Putting the reading and the feeds of this process's broadcast handlers together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from fastapi_events.engine.broadcasting.feed import Feed, PublishingRuns
from fastapi_events.engine.broadcasting.reading import Broadcasts, interest_of, lanes_of
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.wake import LogFlag, Wake
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.run_start import Sealed
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import Database
from fastapi_events.store.log import EventLog
from fastapi_events.store.statements import Statements
from fastapi_events.store.tail import Tail


def facts_of(handlers: Sequence[Handler]) -> list[dict[str, object]]:
    """What operators are told of these handlers: they are registered nowhere but with the process that has them."""
    return [{"name": h.id, "selects": h.declaration.selects, "audit": h.declaration.audit} for h in handlers]


def make_broadcasts(
    handlers: Sequence[Handler], settings: EventsSettings, database: Database, statements: Statements, log: EventLog,
    executor: Executor, wake: Wake, *, partitions: int, poll_interval: Callable[[], float],
    committed: Callable[[Collection[LogPlace]], None], failed: Callable[[], None], skipped: Callable[[int], None],
) -> Broadcasts:  # fmt: skip
    """The service that calls these handlers; from now on ``wake`` wakes it too."""

    async def append(children: tuple[Sealed, ...]) -> None:
        await log.append_alone(database, children)
        committed({child.place for child in children})

    runs = PublishingRuns(executor, append)
    limit = sum(settings.lane_concurrency.values())
    feeds = [Feed(handler, runs, limit, failed=failed, skipped=skipped) for handler in handlers]
    interest = interest_of(handlers)
    tail = Tail(
        database, statements, lanes=lanes_of(interest), partitions=partitions, interest=interest,
        backlog=settings.broadcast_backlog,
    )  # fmt: skip
    wake.log = LogFlag()
    return Broadcasts(
        tail, feeds, wake.log, batch_size=settings.batch_size, poll_interval=poll_interval, skipped=skipped
    )
