"""The replays of one process, from its settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from uuid import UUID

from fastapi_events.engine.drain import LaneDrain
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.gates import Gates
from fastapi_events.engine.handlers import HandlerPlan
from fastapi_events.engine.pool_numbers import REPLAYS, PoolNumbers
from fastapi_events.engine.replaying.replays import Replays
from fastapi_events.model.lane import LogPlace
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import Database
from fastapi_events.store.log import EventLog
from fastapi_events.store.replay_shares import ReplayShareStore
from fastapi_events.store.statements import Statements


def make_replays(
    settings: EventsSettings, database: Database, statements: Statements, log: EventLog, executor: Executor,
    plan: HandlerPlan, gates: Gates, lanes: Sequence[LaneDrain], numbers: PoolNumbers, *, worker: UUID,
    refresh_plan: Callable[[], Awaitable[None]], changed: Callable[[], None],
    committed: Callable[[Collection[LogPlace]], None], keys_due: Callable[[], None], lost: Callable[[int], None],
) -> Replays:  # fmt: skip
    """Made, not started. ``lanes`` are those that replays give way to; the plan is read anew, here and
    elsewhere, when a handler has been given the history that it begins with."""

    async def at_rest() -> None:
        for lane in lanes:
            await lane.at_rest()

    async def caught_up() -> None:
        await refresh_plan()
        changed()

    replays = Replays(
        ReplayShareStore(database, statements, log, worker=worker, lease=settings.lease), executor, plan, gates,
        concurrency=numbers.of(REPLAYS), heartbeat=settings.heartbeat,
        live_at_rest=at_rest, caught_up=caught_up,
        committed=committed, keys_due=keys_due, lost=lost,
    )  # fmt: skip
    numbers.tell(replays, REPLAYS)
    return replays
