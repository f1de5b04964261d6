"""From what is published to an envelope: the same for every publisher, whatever happens to it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from pydantic import GetCoreSchemaHandler
from pydantic.errors import PydanticSchemaGenerationError

from fastapi_events.api.publishing.options import checked_options, refuse_also
from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.errors import DeclarationError, PublishError
from fastapi_events.model.context import current_flow
from fastapi_events.model.dual import with_other_versions
from fastapi_events.model.envelope import NO_OPTIONS, Envelope, PublishOptions, seal, seal_raw
from fastapi_events.model.event import Direction, Event, RawEvent
from fastapi_events.model.onion import PublishOnion

_ONE_THING = (type, Event, str, bytes, Mapping)


class About(NamedTuple):
    """What a class would say of an event that has none here."""

    direction: Direction
    aggregate: str | None
    aggregate_id: str | None


class Sealing:
    """Sealing, which is the same whatever happens to the envelopes afterwards."""

    _dependency: ClassVar[tuple[str, str]] = ("Publisher", "publisher_on")

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
            alias, made_by = cls._dependency
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
        return envelope._replace(explicit_id=False) if derived and envelope.due is None else envelope

    def _with_versions(self, envelope: Envelope, given: PublishOptions) -> Envelope:
        """The envelope with the payloads of other versions too."""
        port, shared = self._port, replace(given, also=None, event_id=envelope.id)

        def seal_one(event: Event) -> Envelope:
            port.registry.learn(type(event))
            return seal(event, port.rules, current_flow(), shared)

        return with_other_versions(envelope, given.also, seal_one, port.rules.max_payload_size)

    def _seal_raw(self, about: About, raw: RawEvent, keywords: Mapping[str, Any]) -> Envelope:
        refuse_also(keywords, "publish.raw()")
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
        given = checked_options(keywords) if keywords else NO_OPTIONS
        if self._derive_id is None or given.event_id is not None:
            return given, False
        return replace(given, event_id=self._derive_id()), True


class Sealer(Sealing):
    """Only the sealing, for events that are put into a session's buffer by somebody else."""

    @property
    def port(self) -> PublishingPort:
        """What it seals for."""
        return self._port

    def seal(self, event: Event) -> Envelope:
        """Validate and serialise an event that is published here and now."""
        return self._seal(event, {})


def several(events: Iterable[Event]) -> Iterable[Event]:
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
