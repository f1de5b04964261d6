"""Putting store, engine and publishing together for one start of an instance."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from fastapi_events.engine.compiling import compile_handlers
from fastapi_events.engine.executor import Executor
from fastapi_events.engine.handler_session import HandlerSession, SyncHandlerSession, handler_session_class
from fastapi_events.engine.handler_transaction import PlainTransactions, asyncpg_engine, transactions_for, within_pools
from fastapi_events.engine.handlers import Handler, HandlerPlan
from fastapi_events.engine.isolation import check_declared
from fastapi_events.engine.kept_transaction import KeptTransactions
from fastapi_events.engine.own_sessions import warn_of_own_sessions
from fastapi_events.engine.runtime import Runtime
from fastapi_events.engine.triggers import Starting, compile_triggers
from fastapi_events.model.breaker import Breaker
from fastapi_events.model.lane import LANES
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.registry import Registry
from fastapi_events.model.retry import Retry
from fastapi_events.plugin.backoff import retry_of
from fastapi_events.plugin.checks import check_retention
from fastapi_events.plugin.job_assembly import make_job_side
from fastapi_events.plugin.locating import Location
from fastapi_events.plugin.publishing import PUBLISHERS, Publishing
from fastapi_events.settings import EventsSettings
from fastapi_events.store import schema
from fastapi_events.store.database import Database, sqlalchemy_url
from fastapi_events.store.group import GroupStore
from fastapi_events.store.job_stores import job_stores
from fastapi_events.store.log import DatabaseIdentity, EventLog
from fastapi_events.store.marks import MarkStore
from fastapi_events.store.rebase import check_cluster
from fastapi_events.store.statements import Statements

logger = logging.getLogger("fastapi_events")

SYNC_THREADS = 32


async def prepare_schema(database: Database, location: Location, settings: EventsSettings) -> None:
    """Upgrade the schema where that is wanted, and check it."""
    connection = await database.connect()
    try:
        if settings.auto_upgrade if settings.auto_upgrade is not None else location.embedded:
            await schema.upgrade(connection, schema=settings.db_schema, partitions=settings.partitions)
        await schema.check(connection, schema=settings.db_schema)
    finally:
        await connection.close()


def make_engine(database: Database, settings: EventsSettings) -> AsyncEngine:
    """The engine for handlers and sessions of an application that has none of its own."""
    return create_async_engine(
        sqlalchemy_url(database.url),
        pool_size=settings.handler_connections,
        max_overflow=5,
        connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0} if settings.pgbouncer else {},
    )


def own_sessions(
    database: Database, settings: EventsSettings, stack: contextlib.AsyncExitStack
) -> async_sessionmaker[AsyncSession]:
    """Sessions of the class that SQLModel's users know; ``stack`` is told how to give their connections back."""
    from sqlmodel.ext.asyncio.session import AsyncSession as SQLModelSession

    engine = make_engine(database, settings)
    stack.push_async_callback(engine.dispose)
    return async_sessionmaker(engine, expire_on_commit=False, class_=SQLModelSession)


async def assemble(
    settings: EventsSettings, registry: Registry, publishing: Publishing, database: Database, *, group: str,
    drains: bool | None, sessions: Any, sync_sessions: Any, middleware: tuple[Middleware, ...],
) -> Runtime:  # fmt: skip
    """The services of this process, made but not started."""
    statements = Statements(settings.db_schema)
    partitions, installed, identifier, name = await GroupStore(database, statements).installation()
    check_cluster(installed, identifier)
    _note_partitions(settings, partitions)
    plan, broadcast = make_plan(
        registry, settings, sessions=sessions, sync_sessions=sync_sessions, middleware=middleware, starting=publishing
    )
    marks = MarkStore(database, statements)
    transactions = _transactions(sessions, marks)
    executor = Executor(
        registry,
        marks,
        transactions=transactions,
        sync_sessions=_sync_handler_sessions(sync_sessions),
        publishers=PUBLISHERS,
        make_publisher=publishing.for_run,
        connections=within_pools(settings.handler_connections, sessions, sync_sessions),
        threads=min(SYNC_THREADS, sum(settings.lane_concurrency.values())),
        lanes=[LANES[name] for name in settings.lanes],
        cascade_depth=settings.cascade_depth,
    )
    runtime = Runtime(
        settings, database, statements, EventLog(statements), plan, executor, broadcast=broadcast,
        group=group, partitions=partitions, drains=settings.worker == "embedded" if drains is None else drains,
    )  # fmt: skip
    stores = job_stores(database, statements, runtime.log, worker=runtime.worker, lease=settings.lease)
    runtime.jobs = make_job_side(runtime, registry, publishing, transactions, stores)
    check_declared(sessions, (job.id for job in runtime.jobs.plan.jobs.values() if job.transactional))
    publishing.connect(runtime, DatabaseIdentity(identifier, name))
    return runtime


def _note_partitions(settings: EventsSettings, installed: int) -> None:
    """Say that a number of partitions was asked for in vain: it is decided when the schema is made."""
    if "partitions" in settings.model_fields_set and settings.partitions != installed:
        logger.warning(
            "EVENTS_PARTITIONS=%d is ignored: the schema %s was made with %d partitions, which cannot be changed. "
            "Set it to %d, or leave it out.", settings.partitions, settings.db_schema, installed, installed,
        )  # fmt: skip


def checked_handlers(registry: Registry, sessions: Any, sync_sessions: Any) -> list[Handler]:
    """The handlers of an instance that is not started: raises ``DeclarationError`` for what could never run."""
    return compile_handlers(
        registry,
        given=PUBLISHERS,
        retry=Retry(),
        timeout=30.0,
        sync_sessions=sync_sessions is not None,
        connections=gives_connections(sessions),
    )


def make_plan(
    registry: Registry,
    settings: EventsSettings,
    *,
    sessions: Any,
    sync_sessions: Any,
    middleware: tuple[Middleware, ...] = (),
    starting: Starting | None = None,
) -> tuple[HandlerPlan, list[Handler]]:
    """The handlers, each with its signature read and its policy decided: the group's, and the broadcast ones.

    Those of triggers are among them if there is something that they can start runs by.
    """
    registry.check_upcasters()
    registry.check_annotations()
    retry, timeout = retry_of(settings), settings.handler_timeout
    breaker = Breaker(settings.breaker_threshold, window=settings.breaker_window, recovery=settings.breaker_recovery)
    handlers = compile_handlers(
        registry,
        given=PUBLISHERS,
        retry=retry,
        timeout=timeout,
        breaker=breaker,
        sync_sessions=sync_sessions is not None,
        connections=gives_connections(sessions),
        middleware=middleware,
    )
    if starting is not None:
        handlers += compile_triggers(
            registry, starting, retry=retry, timeout=timeout, breaker=breaker, middleware=middleware
        )
    plan = HandlerPlan(handler for handler in handlers if not handler.declaration.broadcast)
    warn_of_own_sessions(plan.handlers.values())
    check_retention(plan.handlers.values(), settings)
    return plan, [handler for handler in handlers if handler.declaration.broadcast]


def gives_connections(sessions: Any) -> bool:
    """Whether handlers can take a ``HandlerConnection``: the library's own sessions are asyncpg's."""
    return sessions is None or asyncpg_engine(sessions) is not None


def _transactions(sessions: Any, marks: MarkStore) -> PlainTransactions | KeptTransactions:
    """Transactions of handlers, in sessions configured like the application's own."""
    return transactions_for(sessions, handler_session_class(sessions.class_, HandlerSession), marks)


def _sync_handler_sessions(sessions: Any) -> Callable[[], Any] | None:
    """A maker of plain handlers' sessions, configured like the application's own."""
    if sessions is None:
        return None
    made = handler_session_class(sessions.class_, SyncHandlerSession)
    return lambda: made(**sessions.kw)
