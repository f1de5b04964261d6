"""What users call to publish: on an event loop, or by plain calls in ``def`` endpoints and scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple, TypedDict, Unpack
from uuid import UUID

from pydantic import GetCoreSchemaHandler
from pydantic.errors import PydanticSchemaGenerationError

from fastapi_events.api.publishing.caller import caller
from fastapi_events.api.publishing.cancel import checked_event_id
from fastapi_events.api.publishing.outlets import Outlet, SyncOutlet
from fastapi_events.api.publishing.port import Published, PublishingPort
from fastapi_events.api.publishing.through_middleware import Seal, sealed_through, sealed_through_now
from fastapi_events.errors import DeclarationError, InvalidPayload, PublishError, UnknownOption
from fastapi_events.model.context import current_flow
from fastapi_events.model.envelope import NO_OPTIONS, Envelope, PublishOptions, seal, seal_raw
from fastapi_events.model.event import Direction, Event, RawEvent
from fastapi_events.model.onion import PublishOnion

__all__ = ["EventPublisher", "Published", "SharedKeywords", "SingleKeywords", "SyncEventPublisher"]

_DEPENDENCIES = (("SyncPublisher", "sync_publisher_on"), ("Publisher", "publisher_on"))
_ONE_THING = (type, Event, str, bytes, Mapping)
_OPTIONS = tuple(field.name for field in fields(PublishOptions))


class SharedKeywords(TypedDict, total=False):
    """Options of any number of events; what is left out is inherited from the request or delivery, or derived."""

    occurred_at: datetime | None
    delay: float | timedelta | None
    at: datetime | None
    key: str | None
    tenant_id: str | None
    correlation_id: UUID | None
    causation_id: UUID | None
    headers: Mapping[str, str] | None


class SingleKeywords(SharedKeywords, total=False):
    """Options of one event."""

    event_id: UUID | None


class _About(NamedTuple):
    """What a class would say of an event that has none here."""

    direction: Direction
    aggregate: str | None
    aggregate_id: str | None


class _Publisher:
    """Sealing, which is the same whatever happens to the envelopes afterwards."""

    def __init__(
        self,
        port: PublishingPort,
        *,
        derive_id: Callable[[], UUID] | None = None,
        endpoint: Any = None,
        middleware: PublishOnion | None = None,
    ) -> None:
        self._port, self._derive_id, self._endpoint = port, derive_id, endpoint
        self._middleware = middleware or port.middleware

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """FastAPI takes a bare publisher for a part of the body: say what to write instead."""
        try:
            return handler(source)
        except PydanticSchemaGenerationError as error:
            alias, made_by = _DEPENDENCIES[cls is EventPublisher]
            raise DeclarationError(
                f"FastAPI cannot give an endpoint a bare {cls.__name__}. Annotate the parameter with {alias}, or, on "
                f"your own session, with Annotated[{cls.__name__}, Depends({made_by}(SessionDep))]."
            ) from error

    def _seal(self, event: Event, keywords: Mapping[str, Any]) -> Envelope:
        given, derived = self._given(keywords)
        if not isinstance(event, Event):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
            raise PublishError(
                f"publish() takes an event, an instance of a class derived from Event, not {_shown(event)}. "
                f"{_instead_of(event)}"
            )
        port = self._port
        port.registry.learn(type(event))
        envelope = seal(event, port.rules, current_flow(), given)
        return envelope._replace(explicit_id=False) if derived and envelope.due is None else envelope

    def _seal_raw(self, about: _About, raw: RawEvent, keywords: Mapping[str, Any]) -> Envelope:
        given, derived = self._given(keywords)
        direction, aggregate, aggregate_id = about
        envelope = seal_raw(
            raw,
            self._port.rules,
            current_flow(),
            given,
            direction=direction,
            aggregate=aggregate,
            aggregate_id=aggregate_id,
        )
        return envelope._replace(explicit_id=False) if derived and envelope.due is None else envelope

    def _given(self, keywords: Mapping[str, Any]) -> tuple[PublishOptions, bool]:
        """What the user said, and whether the id in it is ours: it follows from the delivery, and nobody gave it.

        A scheduled event keeps it as if it had been given: a redelivery may come when it was appended or cancelled.
        """
        given = _options(keywords) if keywords else NO_OPTIONS
        if self._derive_id is None or given.event_id is not None:
            return given, False
        return replace(given, event_id=self._derive_id()), True


class Sealer(_Publisher):
    """Only the sealing, for events that are put into a session's buffer by somebody else."""

    @property
    def port(self) -> PublishingPort:
        """What it seals for."""
        return self._port

    def seal(self, event: Event) -> Envelope:
        """Validate and serialise an event that is published here and now."""
        return self._seal(event, {})


class EventPublisher(_Publisher):
    """Publishes events in the transaction of the session that it is bound to.

    Call it: ``await publish(OrderPlaced(...))``. The event is validated and serialised at once and becomes true with
    the session's commit, together with the rows of the session, or not at all; several events have the order in which
    they were published. Options: ``event_id`` (a UUID that makes a second publish of the same id a no-op that says
    so), ``occurred_at`` (an aware datetime), ``key`` (the ordering key, instead of the class's), ``tenant_id``,
    ``correlation_id``, ``causation_id``, ``headers``; and, for an event that is to wait, ``delay`` (seconds or a
    ``timedelta``, by the database's clock from the moment the row is written) or ``at`` (an aware datetime; one that is
    over means at once). Until it is due nobody handles it, and ``cancel`` takes it back.

    With ``event_id``, and for classes with ``serialize=True``, the row is inserted at once, because the answer or the
    lock is needed now; all others go in one statement before the commit.

    Raises ``UnknownEvent``, ``InvalidPayload``, ``PayloadTooLarge`` (before any SQL), ``NotInTransaction``,
    ``SessionClosed``, and ``WrongDatabase`` (at the latest from ``commit()``).
    """

    def __init__(
        self,
        port: PublishingPort,
        outlet: Outlet,
        *,
        derive_id: Callable[[], UUID] | None = None,
        endpoint: Any = None,
        middleware: PublishOnion | None = None,
    ) -> None:
        super().__init__(port, derive_id=derive_id, endpoint=endpoint, middleware=middleware)
        self._outlet = outlet

    async def __call__(self, event: Event, **options: Unpack[SingleKeywords]) -> Published:
        """Publish one event."""
        if self._middleware is None:
            envelope = self._seal(event, options)
        else:
            envelope = await sealed_through(self._middleware, event, options, self._seal)
        [duplicate] = await self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate, envelope.due is not None and not duplicate)

    async def many(self, events: Iterable[Event], **options: Unpack[SharedKeywords]) -> list[Published]:
        """Publish several events with the same options, or none of them if one is refused."""
        if self._middleware is None:
            envelopes = [self._seal(event, options) for event in _several(events)]
        else:
            onion = self._middleware
            envelopes = [await sealed_through(onion, event, options, self._seal) for event in _several(events)]
        return _answers(envelopes, await self._outlet.put(envelopes, caller(self._endpoint)))

    async def raw(
        self,
        name: str,
        payload: Any,
        *,
        version: int = 1,
        direction: Direction = "change",
        aggregate: str | None = None,
        aggregate_id: str | None = None,
        **options: Unpack[SingleKeywords],
    ) -> Published:
        """Publish an event that has no class here, for forwarders: ``payload`` is any JSON value, unvalidated.

        ``version`` (1), ``direction`` (``change``), ``aggregate`` (the middle part of a three-part name) and
        ``aggregate_id`` (the ordering key, unless ``key`` is given) are what a class would say.
        """
        about = _About(direction, aggregate, aggregate_id)
        event = RawEvent(name, version, payload)
        if self._middleware is None:
            envelope = self._seal_raw(about, event, options)
        else:
            envelope = await sealed_through(self._middleware, event, options, partial(self._seal_raw, about))
        [duplicate] = await self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate, envelope.due is not None and not duplicate)

    async def cancel(self, event_id: UUID) -> bool:
        """Take an event that was published with ``delay`` or ``at`` back, in the transaction of this publisher.

        True if it was waiting: nobody will handle it once the transaction is committed. False if it has been appended
        to the log, was cancelled before, or never was: nothing is changed then. While it is being appended, or while
        another transaction cancels it, this waits for the outcome. The id stays taken. Raises ``NotInTransaction`` in a
        handler without a session.
        """
        return await self._outlet.cancel(checked_event_id(event_id))


class SyncEventPublisher(_Publisher):
    """``EventPublisher`` behind plain calls, for ``def`` endpoints and scripts: ``publish(OrderPlaced(...))``."""

    def __init__(
        self,
        port: PublishingPort,
        outlet: SyncOutlet,
        *,
        derive_id: Callable[[], UUID] | None = None,
        endpoint: Any = None,
        middleware: PublishOnion | None = None,
    ) -> None:
        super().__init__(port, derive_id=derive_id, endpoint=endpoint, middleware=middleware)
        self._outlet = outlet

    def __call__(self, event: Event, **options: Unpack[SingleKeywords]) -> Published:
        """Publish one event."""
        envelope = self._sealed(event, options, self._seal)
        [duplicate] = self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate, envelope.due is not None and not duplicate)

    def many(self, events: Iterable[Event], **options: Unpack[SharedKeywords]) -> list[Published]:
        """Publish several events with the same options, or none of them if one is refused."""
        envelopes = [self._sealed(event, options, self._seal) for event in _several(events)]
        return _answers(envelopes, self._outlet.put(envelopes, caller(self._endpoint)))

    def raw(
        self,
        name: str,
        payload: Any,
        *,
        version: int = 1,
        direction: Direction = "change",
        aggregate: str | None = None,
        aggregate_id: str | None = None,
        **options: Unpack[SingleKeywords],
    ) -> Published:
        """Publish an event that has no class here; see ``EventPublisher.raw``."""
        about = _About(direction, aggregate, aggregate_id)
        envelope = self._sealed(RawEvent(name, version, payload), options, partial(self._seal_raw, about))
        [duplicate] = self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate, envelope.due is not None and not duplicate)

    def cancel(self, event_id: UUID) -> bool:
        """Take a scheduled event back; see ``EventPublisher.cancel``."""
        return self._outlet.cancel(checked_event_id(event_id))

    def _sealed(self, event: object, options: Mapping[str, Any], seal: Seal) -> Envelope:
        onion = self._middleware
        return seal(event, options) if onion is None else sealed_through_now(onion, event, options, seal)


def _answers(envelopes: Sequence[Envelope], duplicates: Sequence[bool]) -> list[Published]:
    return [
        Published(envelope.id, duplicate, envelope.due is not None and not duplicate)
        for envelope, duplicate in zip(envelopes, duplicates, strict=True)
    ]


def check_options(given: Mapping[str, Any], *more: str) -> None:
    """Raise ``UnknownOption`` for what is no option of ``publish``, nor one of these; the near miss is named."""
    known = (*more, *_OPTIONS)
    for unknown in given:
        if unknown in known:
            continue
        near = get_close_matches(unknown, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise UnknownOption(f"publish() has no option {unknown!r}. {hint}The options are {', '.join(known)}.")


def _options(given: Mapping[str, Any]) -> PublishOptions:
    check_options(given)
    moment = given.get("occurred_at")
    if moment is not None and not isinstance(moment, datetime):
        raise InvalidPayload(
            f"publish(): occurred_at={ascii(moment)[:80]} has no time zone: it is no datetime. Pass an aware datetime, "
            "e.g. datetime.now(UTC).",
            path="$.occurred_at",
        )
    return PublishOptions(**given)


def _several(events: Iterable[Event]) -> Iterable[Event]:
    """What ``many`` is to publish."""
    if not _are_several(events):
        raise PublishError(
            f"publish.many() takes several events, a list for example, not {_shown(events)}. For one event write "
            "publish(event)."
        )
    return events


def _are_several(value: object) -> bool:
    """Whether it is iterable, and not because one thing is: an event is, over its fields."""
    return isinstance(value, Iterable) and not isinstance(value, _ONE_THING)


def _instead_of(event: object) -> str:
    if _are_several(event):
        return "For several events use publish.many([...]), of a publisher such as events.publisher(session)."
    return "For an event that has no class here use publish.raw(name, payload)."


def _shown(value: object) -> str:
    return f"the class {value.__qualname__}" if isinstance(value, type) else f"a {type(value).__qualname__}"
