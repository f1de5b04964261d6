"""What users call to publish: on an event loop, or by plain calls in ``def`` endpoints and scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any, NamedTuple, TypedDict, Unpack
from uuid import UUID

from pydantic import GetCoreSchemaHandler
from pydantic.errors import PydanticSchemaGenerationError

from fastapi_events.api.publishing.caller import caller
from fastapi_events.api.publishing.outlets import Outlet, SyncOutlet
from fastapi_events.api.publishing.port import Published, PublishingPort
from fastapi_events.errors import DeclarationError, InvalidPayload, PublishError, UnknownOption
from fastapi_events.model.context import current_flow
from fastapi_events.model.dual import with_other_versions
from fastapi_events.model.envelope import NO_OPTIONS, Envelope, PublishOptions, seal, seal_raw
from fastapi_events.model.event import Direction, Event, RawEvent

__all__ = ["EventPublisher", "Published", "SharedKeywords", "SingleKeywords", "SyncEventPublisher", "TypedKeywords"]

_DEPENDENCIES = (("SyncPublisher", "sync_publisher_on"), ("Publisher", "publisher_on"))
_ONE_THING = (type, Event, str, bytes, Mapping)
_OPTIONS = tuple(field.name for field in fields(PublishOptions))


class SharedKeywords(TypedDict, total=False):
    """Options of any number of events; what is left out is inherited from the request or delivery, or derived."""

    occurred_at: datetime | None
    key: str | None
    tenant_id: str | None
    correlation_id: UUID | None
    causation_id: UUID | None
    headers: Mapping[str, str] | None


class SingleKeywords(SharedKeywords, total=False):
    """Options of one event."""

    event_id: UUID | None


class TypedKeywords(SingleKeywords, total=False):
    """Options of one event that has a class: ``also`` is the same event in other versions, for handlers of those."""

    also: Event | Sequence[Event] | None


class _About(NamedTuple):
    """What a class would say of an event that has none here."""

    direction: Direction
    aggregate: str | None
    aggregate_id: str | None


class _Publisher:
    """Sealing, which is the same whatever happens to the envelopes afterwards."""

    def __init__(
        self, port: PublishingPort, *, derive_id: Callable[[], UUID] | None = None, endpoint: Any = None
    ) -> None:
        self._port, self._derive_id, self._endpoint = port, derive_id, endpoint

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
        if given.also is not None:
            envelope = self._with_versions(envelope, given)
        return envelope._replace(explicit_id=False) if derived else envelope

    def _with_versions(self, envelope: Envelope, given: PublishOptions) -> Envelope:
        """The envelope with the payloads of other versions too."""
        port, shared = self._port, replace(given, also=None, event_id=envelope.id)

        def seal_one(event: Event) -> Envelope:
            port.registry.learn(type(event))
            return seal(event, port.rules, current_flow(), shared)

        return with_other_versions(envelope, given.also, seal_one, port.rules.max_payload_size)

    def _seal_raw(self, raw: RawEvent, about: _About, keywords: Mapping[str, Any]) -> Envelope:
        _refuse_also(keywords, "publish.raw()")
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
        return envelope._replace(explicit_id=False) if derived else envelope

    def _given(self, keywords: Mapping[str, Any]) -> tuple[PublishOptions, bool]:
        """What the user said, and whether the id in it is ours: it follows from the delivery, and nobody gave it."""
        given = _options(keywords) if keywords else NO_OPTIONS
        if self._derive_id is None or given.event_id is not None:
            return given, False
        return replace(given, event_id=self._derive_id()), True


class EventPublisher(_Publisher):
    """Publishes events in the transaction of the session that it is bound to.

    Call it: ``await publish(OrderPlaced(...))``. The event is validated and serialised at once and becomes true with
    the session's commit, together with the rows of the session, or not at all; several events have the order in which
    they were published. Options: ``event_id`` (a UUID that makes a second publish of the same id a no-op that says
    so), ``occurred_at`` (an aware datetime), ``key`` (the ordering key, instead of the class's), ``tenant_id``,
    ``correlation_id``, ``causation_id``, ``headers``, and ``also``: the same event in another version, or several of
    them, for handlers that take those; it stays one event with one delivery per handler.

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
    ) -> None:
        super().__init__(port, derive_id=derive_id, endpoint=endpoint)
        self._outlet = outlet

    async def __call__(self, event: Event, **options: Unpack[TypedKeywords]) -> Published:
        """Publish one event."""
        envelope = self._seal(event, options)
        [duplicate] = await self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate)

    async def many(self, events: Iterable[Event], **options: Unpack[SharedKeywords]) -> list[Published]:
        """Publish several events with the same options, or none of them if one is refused."""
        _refuse_also(options, "publish.many()")
        envelopes = [self._seal(event, options) for event in _several(events)]
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
        envelope = self._seal_raw(RawEvent(name, version, payload), about, options)
        [duplicate] = await self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate)


class SyncEventPublisher(_Publisher):
    """``EventPublisher`` behind plain calls, for ``def`` endpoints and scripts: ``publish(OrderPlaced(...))``."""

    def __init__(
        self,
        port: PublishingPort,
        outlet: SyncOutlet,
        *,
        derive_id: Callable[[], UUID] | None = None,
        endpoint: Any = None,
    ) -> None:
        super().__init__(port, derive_id=derive_id, endpoint=endpoint)
        self._outlet = outlet

    def __call__(self, event: Event, **options: Unpack[TypedKeywords]) -> Published:
        """Publish one event."""
        envelope = self._seal(event, options)
        [duplicate] = self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate)

    def many(self, events: Iterable[Event], **options: Unpack[SharedKeywords]) -> list[Published]:
        """Publish several events with the same options, or none of them if one is refused."""
        _refuse_also(options, "publish.many()")
        envelopes = [self._seal(event, options) for event in _several(events)]
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
        envelope = self._seal_raw(RawEvent(name, version, payload), about, options)
        [duplicate] = self._outlet.put([envelope], caller(self._endpoint))
        return Published(envelope.id, duplicate)


def _answers(envelopes: Sequence[Envelope], duplicates: Sequence[bool]) -> list[Published]:
    return [Published(envelope.id, duplicate) for envelope, duplicate in zip(envelopes, duplicates, strict=True)]


def check_options(given: Mapping[str, Any], *more: str) -> None:
    """Raise ``UnknownOption`` for what is no option of ``publish``, nor one of these; the near miss is named."""
    known = (*more, *_OPTIONS)
    for unknown in given:
        if unknown in known:
            continue
        near = get_close_matches(unknown, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise UnknownOption(f"publish() has no option {unknown!r}. {hint}The options are {', '.join(known)}.")


def _refuse_also(given: Mapping[str, Any], what: str) -> None:
    if given.get("also") is not None:
        raise PublishError(
            f"{what} takes no also=..., which belongs to one event of a class. Publish it by itself: "
            "publish(event, also=other_version)."
        )


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
