"""What the operators' pages and routes need of the running instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from fastapi_events.api.erasure import Erased
from fastapi_events.api.observe import Observe
from fastapi_events.api.replays import ReplayOperations
from fastapi_events.api.run_operations import RunOperations
from fastapi_events.engine.listener import WakeUp
from fastapi_events.model.lane import Lane
from fastapi_events.model.registry import Registry
from fastapi_events.model.tenancy import UNSAID, Unsaid
from fastapi_events.settings import EventsSettings


@dataclass(frozen=True, slots=True)
class Health:
    """How the instance is doing, as the readiness probe reports it.

    ``schema``: ``ok``, or what is wrong with it. ``drain``: ``running``; ``standalone`` (this process publishes only);
    ``disabled`` (the setting ``enabled`` is false); ``stopped``. ``wake_up``: whether notifications arrive or the
    process looks by itself, ``off`` where it handles nothing and has no broadcast handlers. ``oldest_pending_age``:
    seconds since the oldest event that this group has not dealt with was published, or was due if it is scheduled; None
    if there is none. ``problems``: why the process is not ready; empty means that it is.
    """

    schema: str
    drain: Literal["running", "standalone", "disabled", "stopped"]
    wake_up: WakeUp
    oldest_pending_age: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether traffic should be sent to this process."""
        return not self.problems


class Changed(Protocol):
    """What an action did: of so many asked for, so many were in a state that allowed it."""

    @property
    def asked(self) -> int: ...

    @property
    def changed(self) -> int: ...


class OperationsPort(Protocol):
    """The actions, each of which records itself with its actor in the transaction that makes the change."""

    def within(self, *tenants: str) -> OperationsPort: ...

    @property
    def replays(self) -> ReplayOperations: ...

    @property
    def runs(self) -> RunOperations: ...

    async def pause_job(self, name: str, *, actor: str, reason: str = "") -> bool: ...

    async def resume_job(self, name: str, *, actor: str, reason: str = "") -> bool: ...

    async def set_pool(self, name: str, concurrency: int, *, actor: str, reason: str = "") -> bool: ...

    async def reset_pool(self, name: str, *, actor: str, reason: str = "") -> bool: ...

    async def pause_schedule(self, name: str, *, actor: str, reason: str = "") -> bool: ...

    async def resume_schedule(self, name: str, *, actor: str, reason: str = "") -> bool: ...

    async def run_schedule_now(self, name: str, *, actor: str, reason: str = "") -> UUID: ...

    async def redrive(self, delivery_ids: Sequence[UUID], *, actor: str, reason: str = "") -> Changed: ...

    async def discard(self, delivery_ids: Sequence[UUID], *, actor: str, reason: str) -> Changed: ...

    async def redrive_matching(
        self, *, handler: str | None, event_name: str | None, fingerprint: str | None, changed_before: datetime,
        limit: int, actor: str, reason: str = "",
    ) -> Changed: ...  # fmt: skip

    async def discard_matching(
        self, *, handler: str | None, event_name: str | None, fingerprint: str | None, changed_before: datetime,
        limit: int, actor: str, reason: str,
    ) -> Changed: ...  # fmt: skip

    async def pause(
        self, *, handler: str | None = None, lane: Lane | None = None, actor: str, reason: str = ""
    ) -> bool: ...

    async def resume(
        self, *, handler: str | None = None, lane: Lane | None = None, actor: str, reason: str = ""
    ) -> bool: ...

    async def reset_breaker(self, handler: str, *, actor: str, reason: str = "") -> bool: ...

    async def cancel_scheduled(self, event_id: UUID, *, actor: str, reason: str = "") -> bool: ...

    async def preview_erase(
        self, aggregate: str, aggregate_id: str, *, tenant_id: str | Unsaid | None = UNSAID
    ) -> Erased: ...

    async def erase(
        self, aggregate: str, aggregate_id: str, *, tenant_id: str | Unsaid | None = UNSAID, actor: str, reason: str
    ) -> Erased: ...


class OperatorPort(Protocol):
    """The instance, as operators see it: ``Events`` is one.

    ``authorize`` is a FastAPI dependency that returns an ``Actor`` or refuses by raising; None leaves everything closed
    unless ``settings.development``.
    """

    @property
    def observe(self) -> Observe: ...

    @property
    def operations(self) -> OperationsPort: ...

    @property
    def settings(self) -> EventsSettings: ...

    @property
    def authorize(self) -> Callable[..., Any] | None: ...

    @property
    def registry(self) -> Registry: ...

    async def health(self) -> Health: ...
