"""``Events``: what an application makes one of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from fastapi_events.api.observe import Observe
from fastapi_events.api.operations import Operations
from fastapi_events.api.operator_port import Health
from fastapi_events.engine import running
from fastapi_events.engine.draining import drain_once
from fastapi_events.engine.runtime import Runtime
from fastapi_events.errors import NotStarted, SettingsError
from fastapi_events.model.middleware import Middleware
from fastapi_events.model.middleware_checks import checked_middleware
from fastapi_events.model.module import Module
from fastapi_events.model.registry import Registry
from fastapi_events.model.unknown_options import names_unknown
from fastapi_events.plugin import checks, siblings
from fastapi_events.plugin.assembly import checked_handlers
from fastapi_events.plugin.database_problems import note_problem
from fastapi_events.plugin.operating import Operators, connected
from fastapi_events.plugin.publishes import Publishes
from fastapi_events.plugin.publishing import Publishing
from fastapi_events.plugin.starting import start_services
from fastapi_events.settings import EventsSettings

if TYPE_CHECKING:
    from fastapi import APIRouter

    from fastapi_events.testing.memory.runtime import MemoryRuntime
    from fastapi_events.testing.memory.switch import InMemory


class Events(Publishes):
    """Durable events for one application: put modules in, include the router (or start it), publish and handle.

    ``sessions`` is the application's own ``async_sessionmaker``: handlers' sessions are made like it, and its database
    is where the events live unless ``database_url`` says otherwise. ``sync_sessions`` (a ``sessionmaker``) serves
    ``SyncHandlerSession``. ``settings`` left out are read from the environment. ``group`` names the service (default:
    the setting's); ``prefix`` is where the router's routes live. ``middleware`` is around all publishing and handling.
    ``authorize`` is a FastAPI dependency that returns an ``Actor``; without one pages and JSON API are closed.
    ``include_in_schema`` shows the JSON API in the app's OpenAPI document; ``tags`` are those of the router's routes.
    The object is a ``Module`` itself, called ``app``, for applications of one file.

    Example::

        events = Events(modules=[orders, inventory], sessions=SessionLocal)
        app = FastAPI()
        app.include_router(events.router)

    Raises ``DeclarationError`` and its kinds for anything in the modules that can never work, and ``SettingsError``
    for arguments of another kind.
    """

    @names_unknown
    def __init__(
        self,
        modules: Sequence[Module] = (),
        *,
        sessions: async_sessionmaker[Any] | None = None,
        sync_sessions: Callable[[], Session] | None = None,
        settings: EventsSettings | None = None,
        group: str | None = None,
        prefix: str = "/events",
        middleware: Sequence[Middleware] = (),
        authorize: Callable[..., Any] | None = None,
        include_in_schema: bool = False,
        tags: Sequence[str] | None = None,
    ) -> None:
        super().__init__("app")
        checks.check_makers(sessions, sync_sessions)
        checks.check_settings(settings)
        self.prefix, self.authorize = checks.checked_prefix(prefix), authorize
        self.include_in_schema, self.tags = include_in_schema, tags
        self._modules, self._group = checks.checked_modules(modules), checks.checked_group(group)
        self._settings, self.middleware = settings, checked_middleware("Events(...)", middleware)
        self._sessions, self._sync_sessions = sessions, sync_sessions
        self._starts = 0
        self._lock: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exit: contextlib.AsyncExitStack | None = None
        self._runtime: Runtime | None = None
        self.memory: InMemory | None = None
        self.on_memory: MemoryRuntime | None = None
        self._observe: Observe | None = None
        self._operations: Operations | None = None
        self._own_sessions: Any = None
        self._router: APIRouter | None = None
        self.publishing = Publishing(self)
        self.registry = Registry([*self._modules, self])
        checked_handlers(self.registry, sessions, sync_sessions)
        siblings.made(self)

    if not TYPE_CHECKING:  # to checkers, an attribute that is not there is none

        def __getattr__(self, name: str) -> Any:
            checks.check_attribute(name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    @property
    def settings(self) -> EventsSettings:
        """The settings, read from the environment at first use; raises ``SettingsError``, every problem at once."""
        if self._settings is None:
            self._settings = EventsSettings()
        return self._settings

    @settings.setter
    def settings(self, settings: EventsSettings) -> None:
        checks.check_change(settings, started=self._runtime is not None)
        self._settings = settings

    @property
    def sessions(self) -> Any:
        """The application's own session maker, if it gave one."""
        return self._sessions

    @property
    def sync_sessions(self) -> Any:
        """The application's own maker of plain sessions, if it gave one."""
        return self._sync_sessions

    @property
    def group(self) -> str:
        """The consumer group."""
        return self._group or self.settings.group

    @property
    def runtime(self) -> Runtime:
        """The running services; raises ``NotStarted``."""
        if self._runtime is None:
            if self.on_memory is not None:
                self.on_memory.refuse_services()
            checks.refuse_idle()
        return self._runtime

    @property
    def observe(self) -> Observe:
        """Read-only views for people and programs: overview, history, dead letters, workers."""
        if self._observe is None:
            raise NotStarted("events.observe needs a started instance: await events.start().")
        return self._observe

    @property
    def operations(self) -> Operations:
        """What operators do: redrive, discard, replay, pause, cancel, erase; each is recorded with its actor."""
        if self._operations is None:
            raise NotStarted("events.operations needs a started instance: await events.start().")
        return self._operations

    def connect(self) -> contextlib.AbstractAsyncContextManager[Operators]:
        """For operators' scripts: ``async with events.connect() as operators`` reads and acts, and starts nothing."""
        return connected(self)

    @property
    def router(self) -> APIRouter:
        """The routes (health, JSON API, dashboard) with the lifespan that starts and stops everything."""
        if self._router is None:
            from fastapi_events.plugin.routing import make_router

            self._router = make_router(self)
        return self._router

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncGenerator[None]:
        """Start for a block of code, and stop after it; what the router does, for other frameworks and scripts.

        As a ``lifespan`` it is called with the application, which then serves as ``app.state.fastapi_events``.
        """
        if app is not None and hasattr(app, "state"):
            from fastapi_events.plugin.routing import check_app

            check_app(app)
            app.state.fastapi_events = self
            siblings.warn_of_idle(self)
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self, *, drains: bool | None = None) -> None:
        """Connect, check (or, on the embedded server, upgrade) the schema, and start the services of this process.

        Counted: as many ``stop()`` end it. ``drains`` overrides whether this process handles events (default: the
        setting ``worker`` is ``embedded``). Raises ``SettingsError``, ``SchemaOutOfDate`` or a ``DeclarationError``.
        """
        async with self._starting_lock():
            self._starts += 1
            if self._starts == 1:
                try:
                    await self._start(drains)
                except BaseException as error:
                    self._starts = 0
                    note_problem(error, self)
                    await self._close()
                    raise

    def _starting_lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._lock is None or self._loop is not loop:
            if self._starts and self._loop is not None and not self._loop.is_closed():
                raise SettingsError("This Events instance is started on another event loop. Stop it there first.")
            self._loop, self._lock, self._starts = loop, asyncio.Lock(), 0
        return self._lock

    async def stop(self) -> None:
        """Stop in good order: claim nothing more, let running handlers finish within ``shutdown_grace``, release.

        Whatever fails to stop is raised once everything else has stopped; the instance may be started again.
        """
        if self._lock is None:
            return
        async with self._lock:
            self._starts = max(self._starts - 1, 0)
            if self._starts == 0:
                await self._close()

    async def drain_once(self, *, session: Any = None) -> int:
        """Handle what is there now, until nothing is due; returns the number of events. For tests and scripts.

        With ``session`` (in a test) those events alone that its open transaction has published, inside it: handlers'
        sessions are savepoints of it, nothing is committed, and what a handler raises is raised here.
        """
        if session is not None:
            from fastapi_events.plugin.in_transaction import drain_within

            return await drain_within(self, session)
        if self.on_memory is not None:
            return await self.on_memory.drain_once()
        return await drain_once(self.runtime)

    def session(self) -> AsyncSession:
        """A session like the application's own, or one of the library's where it gave none."""
        session: AsyncSession = self.session_maker()
        return session

    @property
    def session_maker(self) -> Any:
        """What ``session()`` is made by, and handlers' sessions are made like."""
        return self._own_sessions or self._sessions or checks.refuse_session()

    def sync_session(self) -> Session:
        """A plain session like the application's own; raises ``SettingsError`` if ``sync_sessions`` was not given."""
        maker = (self.memory.sync_sessions if self.memory else None) or self._sync_sessions
        return (maker or checks.refuse_sync_session())()

    async def health(self) -> Health:
        """How this instance is doing, for probes."""
        from fastapi_events.plugin.health import health_of

        return await health_of(self)

    def keep_in(self, memory: InMemory | None) -> None:
        """From the next start on keep the events there (None: in the database); ``in_memory(events)`` calls it."""
        checks.check_stopped(started=bool(self._starts) and self._loop is not None and not self._loop.is_closed())
        self.memory = memory

    async def _start(self, drains: bool | None) -> None:
        siblings.in_use(self)
        self._exit = contextlib.AsyncExitStack()
        self.registry = Registry([*self._modules, self])
        for module in self.registry.modules:
            self._exit.enter_context(module.read_by_a_running_instance())
        started = await start_services(self, drains, self._exit)
        self._runtime, self.on_memory = started.runtime, started.on_memory
        self._observe, self._operations, self._own_sessions = started.observe, started.operations, started.sessions
        running.register(self)

    async def _close(self) -> None:
        running.unregister(self)
        stack, self._exit = self._exit or contextlib.AsyncExitStack(), None
        try:
            await stack.aclose()
        finally:  # whatever failed to stop, and a cancellation: it is stopped, and may be started anew
            self.publishing.disconnect()
            self._runtime = self.on_memory = self._observe = self._operations = self._own_sessions = None
