"""What publishing needs of a running instance, and what it answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple, Protocol
from uuid import UUID

from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.lane import LogPlace
from fastapi_events.model.onion import PublishOnion
from fastapi_events.model.registry import Registry
from fastapi_events.store.log import DatabaseIdentity, EventLog
from fastapi_events.store.run_readings import RunReadings


class Published(NamedTuple):
    """The answer of ``publish``.

    ``duplicate`` says that an event of the given ``event_id`` is in the log or scheduled already, or was cancelled, so
    that nothing was added. It is False for every event without a given id. ``scheduled`` says that the event waits for
    its time, so that it can be cancelled by its id until then.
    """

    event_id: UUID
    duplicate: bool
    scheduled: bool = False


class PublishingPort(Protocol):
    """The composition root, as publishers see it."""

    @property
    def rules(self) -> PublishRules:
        """How events are sealed."""
        ...

    @property
    def log(self) -> EventLog:
        """Where events are appended."""
        ...

    @property
    def run_readings(self) -> RunReadings:
        """Where runs are read."""
        ...

    def job_numbers(self) -> Mapping[str, int]:
        """The numbers of all jobs of this application, by name."""
        ...

    def job_number(self, name: str) -> int:
        """The number that the database has for a job of this application; raises ``UnknownJob``."""
        ...

    def trigger_number(self, trigger_id: str) -> int:
        """The number that the database has for a trigger of a job of this application."""
        ...

    @property
    def registry(self) -> Registry:
        """Which event classes there are."""
        ...

    @property
    def middleware(self) -> PublishOnion | None:
        """What is around publishing, if anything is."""
        ...

    @property
    def notify(self) -> Literal["after_commit", "transactional", "off"]:
        """How other processes are woken; only ``transactional`` is the publisher's own work."""
        ...

    @property
    def channel(self) -> str:
        """The NOTIFY channel that listeners hear."""
        ...

    @property
    def database(self) -> DatabaseIdentity | None:
        """The database that the drain reads; None while it is not known, when nothing is compared."""
        ...

    def committed(self, places: Collection[LogPlace]) -> None:
        """Events of these places have been committed. Called from any thread; cheap, and raises nothing."""
        ...

    def count(self, what: str, number: int = 1) -> None:
        """Count an occurrence worth a metric, such as ``uncommitted_publish``. Raises nothing."""
        ...
