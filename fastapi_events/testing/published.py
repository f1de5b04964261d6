"""What has been published: by a session that is still open, or by anybody since the test began."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from fastapi_events.api.publishing.session_events import events_of
from fastapi_events.engine.stored_versions import StoredVersions, Unreadable
from fastapi_events.errors import UnknownOption
from fastapi_events.model.envelope import Envelope
from fastapi_events.model.event import Event, RawEvent, options_of
from fastapi_events.model.names import one_slip_apart
from fastapi_events.model.registry import Registry
from fastapi_events.testing.instance import Instance
from fastapi_events.testing.services import rows_published
from fastapi_events.testing.telling import found_instead

E = TypeVar("E")
Ev = TypeVar("Ev", bound=Event)


@dataclass(frozen=True, slots=True)
class PublishedEvent(Generic[E]):
    """A published event: the event itself, and what is stored around it.

    ``position`` is None while it is not in the log: uncommitted, or scheduled. ``due_at`` is when a scheduled one is
    appended; of one that is neither committed nor given a moment (``delay``) nobody knows yet.
    """

    event: E
    id: UUID
    name: str
    position: int | None
    key: str | None
    tenant_id: str | None
    correlation_id: UUID
    causation_id: UUID | None
    headers: Mapping[str, str]
    due_at: datetime | None = None


class PublishedEvents:
    """The committed events of an instance's database, scheduled ones too; ``published(session)`` for an open session.

    ``after`` is a position in the log: what is not above it does not count. Assertions name what there was instead.

    Example::

        placed = await published.one(OrderPlaced, order_id=7)
        assert placed.headers == {}
        await published.none(OrderCancelled)
        await published(session).one(OrderPlaced)           # before its commit
    """

    def __init__(self, events: Instance, *, after: int = 0) -> None:
        self._events, self._after = events, after

    def __call__(self, session: Any) -> SessionEventsPublished:
        """What an open session has published and neither committed nor rolled back.

        ``session`` is an ``AsyncSession``, a ``Session``, or a scoped one; anything else is a ``TypeError``.
        """
        return SessionEventsPublished(self._events, session)

    async def everything(self) -> list[PublishedEvent[Any]]:
        """All of them, in the order of their positions."""
        return [_read(row, self._events.registry, None) for row in await self._rows(None)]

    async def all(
        self, event_class: type[Ev], /, *, where: Callable[[Ev], bool] | None = None, **fields: object
    ) -> list[PublishedEvent[Ev]]:
        """The events of a class whose fields equal the given values, and of which ``where`` is true.

        Events that are stored in an older version are lifted to the class. Raises ``UnknownOption`` for a field that
        the class does not have.
        """
        return _matching(await self._of(event_class), event_class, where, fields)

    async def one(
        self, event_class: type[Ev], /, *, where: Callable[[Ev], bool] | None = None, **fields: object
    ) -> PublishedEvent[Ev]:
        """The only such event; an ``AssertionError`` if there is none, or another one."""
        __tracebackhide__ = True
        found = await self.all(event_class, where=where, **fields)
        if len(found) != 1:
            raise AssertionError(await self._instead(event_class, where, fields, len(found), "exactly one"))
        return found[0]

    async def none(
        self, event_class: type[Ev], /, *, where: Callable[[Ev], bool] | None = None, **fields: object
    ) -> None:
        """An ``AssertionError`` if there is such an event."""
        __tracebackhide__ = True
        found = await self.all(event_class, where=where, **fields)
        if found:
            raise AssertionError(await self._instead(event_class, where, fields, len(found), "none"))

    async def _instead(
        self, event_class: type[Any], where: Any, fields: Mapping[str, object], found: int, wanted: str
    ) -> str:
        return found_instead(event_class, where, fields, await self.everything(), found, wanted)

    async def _of(self, event_class: type[Ev]) -> list[PublishedEvent[Ev]]:
        rows = await self._rows(_name_of(event_class))
        return [_read(row, self._events.registry, event_class) for row in rows]

    async def _rows(self, name: str | None) -> Sequence[Any]:
        return await rows_published(self._events, name, after=self._after)


class SessionEventsPublished(PublishedEvents):
    """What one open session has published; the same assertions."""

    def __init__(self, events: Instance, session: Any) -> None:
        super().__init__(events)
        self._session = plain_session(session, "published(...)", "published.one(...)")

    async def _rows(self, name: str | None) -> Sequence[Any]:
        events = events_of(self._session)
        entries = [] if events is None else [*events.buffer.written, *events.buffer.waiting]
        events_of_it = [e.envelope for e in entries if isinstance(e.envelope, Envelope)]
        return [_row_of(envelope) for envelope in events_of_it if name is None or envelope.name == name]


def check_fields(event_class: type[Event], fields: Iterable[str]) -> None:
    """Raise ``UnknownOption`` for a name that is no field of the class."""
    known = set(event_class.model_fields)
    for name in fields:
        if name not in known and not hasattr(event_class, name):
            near = next((one for one in sorted(known) if one_slip_apart(name, one)), None)
            hint = f"Did you mean {near!r}?" if near else f"It has {', '.join(sorted(known)) or 'none'}."
            raise UnknownOption(f"{event_class.__qualname__} has no field {name!r} to compare. {hint}")


def _matching(
    found: Iterable[PublishedEvent[Ev]], event_class: type[Ev], where: Callable[[Ev], bool] | None,
    fields: Mapping[str, object],
) -> list[PublishedEvent[Ev]]:  # fmt: skip
    check_fields(event_class, fields)
    return [
        one
        for one in found
        if isinstance(one.event, event_class)
        and all(getattr(one.event, name) == value for name, value in fields.items())
        and (where is None or where(one.event))
    ]


def _name_of(event_class: Any) -> str:
    options = options_of(event_class) if isinstance(event_class, type) and issubclass(event_class, Event) else None
    if options is None:
        raise TypeError(f"published.one(), all() and none() take an event class that has a name=, not {event_class!r}.")
    return options.name


def _read(row: Mapping[str, Any], registry: Registry, wanted: type[Event] | None) -> PublishedEvent[Any]:
    return PublishedEvent(
        _event_of(row, registry, wanted), row["id"], row["name"], row["position"], row["key"], row["tenant_id"],
        row["correlation_id"], row["causation_id"], json.loads(row["headers"] or "{}"), row["due_at"],
    )  # fmt: skip


def _event_of(row: Mapping[str, Any], registry: Registry, wanted: type[Event] | None) -> Event | RawEvent:
    """The event as the wanted class, else as a known one; as a ``RawEvent`` if it cannot be read so."""
    name, version, payload = row["name"], row["version"], row["payload"]
    versions = StoredVersions(name, version, payload, row["other_versions"])
    known = wanted or registry.class_of(name, version) or versions.nearest(
        registry.classes_of(name), registry.upcasters
    )  # fmt: skip
    options = options_of(known) if known is not None else None
    if known is None or options is None:
        return RawEvent(name, version, json.loads(payload))
    try:
        text = payload if options.version == version else versions.text_for(options, registry.upcasters)
        return known.model_validate_json(text, by_alias=True, by_name=True)
    except (Unreadable, ValueError):
        return RawEvent(name, version, json.loads(payload))


def _row_of(envelope: Envelope) -> Mapping[str, Any]:
    due_at = envelope.due if isinstance(envelope.due, datetime) else None
    return {**envelope._asdict(), "position": None, "due_at": due_at}


def plain_session(session: Any, what: str, otherwise: str) -> Session:
    """The plain session under what was given to ``what``; a ``TypeError`` for what is none."""
    scoped: tuple[Any, ...] = (async_scoped_session, scoped_session)
    plain: Any = session() if isinstance(session, scoped) else session
    if isinstance(plain, AsyncSession):
        plain = plain.sync_session
    if not isinstance(plain, Session):
        raise TypeError(
            f"{what} takes the session that a test works on, not {session!r}. What others have committed is "
            f"{otherwise}."
        )
    return plain
