"""An ``Events`` instance as the testing kit sees it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from fastapi_events.api.observe import Observe
from fastapi_events.engine.handlers import Handler, HandlerPlan
from fastapi_events.engine.jobs.side import JobSide
from fastapi_events.engine.news import News
from fastapi_events.engine.runtime import Runtime
from fastapi_events.model.registry import Registry
from fastapi_events.settings import EventsSettings


class Moved(Protocol):
    """A clock that is moved ahead."""

    def advance(self, by: timedelta) -> None:
        """Let so much time pass."""
        ...


class OnMemory(Protocol):
    """The services of an instance on memory."""

    @property
    def clock(self) -> Moved:
        """What back-offs, delays and schedules go by."""
        ...

    @property
    def plan(self) -> HandlerPlan:
        """The handlers of the instance."""
        ...

    @property
    def broadcast_handlers(self) -> Sequence[Handler]:
        """Its broadcast handlers."""
        ...

    @property
    def drains(self) -> bool:
        """Whether it handles events by itself."""
        ...

    @property
    def jobs(self) -> JobSide | None:
        """Its jobs."""
        ...

    def hear(self) -> News:
        """Tells of what is committed and handled; raises ``SettingsError`` on another event loop than its own."""
        ...

    def published(self, name: str | None, *, after: int) -> list[dict[str, Any]]:
        """The rows of what is committed, as ``PublishedStore.read`` gives them."""
        ...


class Instance(Protocol):
    """An ``Events`` object, whether it is started or not."""

    registry: Registry

    @property
    def settings(self) -> EventsSettings:
        """The settings of the instance."""
        ...

    @property
    def runtime(self) -> Runtime:
        """Its services; raises ``NotStarted``."""
        ...

    @property
    def on_memory(self) -> OnMemory | None:
        """Its services where events are kept in memory."""
        ...

    @property
    def observe(self) -> Observe:
        """Readings for people; raises ``NotStarted``."""
        ...

    async def drain_once(self) -> int:
        """Handle what is there now."""
        ...


class Startable(Instance, Protocol):
    """One that can be led to another database, and started there."""

    @property
    def settings(self) -> EventsSettings:
        """The settings of the instance, which may be replaced while it is stopped."""
        ...

    @settings.setter
    def settings(self, settings: EventsSettings) -> None: ...

    @property
    def sessions(self) -> Any:
        """The application's own session maker, if it gave one."""
        ...

    @property
    def sync_sessions(self) -> Any:
        """The application's own maker of plain sessions, if it gave one."""
        ...

    async def start(self, *, drains: bool | None = None) -> None:
        """Start it on the running event loop."""
        ...

    async def stop(self) -> None:
        """Stop it."""
        ...
