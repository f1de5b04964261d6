"""An event's way through the middleware around publishing: it is sealed at the end of it, and published after it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, cast

from fastapi_events.errors import InvalidPayload, PublishError
from fastapi_events.model.context import current_flow
from fastapi_events.model.envelope import Envelope
from fastapi_events.model.event import Event, RawEvent
from fastapi_events.model.middleware import PublishContext
from fastapi_events.model.onion import PublishOnion
from fastapi_events.model.tenancy import UNSAID

Seal = Callable[[Any, Mapping[str, Any]], Envelope]

_REPLACEABLE = ("event_id", "occurred_at", "key", "tenant_id", "correlation_id", "causation_id", "headers")


async def sealed_through(onion: PublishOnion, event: object, keywords: Mapping[str, Any], seal: Seal) -> Envelope:
    """The envelope of what the middleware makes of an event and the options that were given with it.

    ``seal`` makes it, and refuses what cannot be published; what is no event at all it refuses before any middleware.
    """
    envelopes: list[Envelope] = []
    await onion.call(_context(event, keywords, seal, envelopes))
    return envelopes[-1]


def sealed_through_now(onion: PublishOnion, event: object, keywords: Mapping[str, Any], seal: Seal) -> Envelope:
    """The same without an event loop; raises ``PublishError`` if a middleware waits for one."""
    envelopes: list[Envelope] = []
    passage = cast("Coroutine[Any, Any, Any]", onion.call(_context(event, keywords, seal, envelopes)))
    try:
        passage.send(None)
    except StopIteration:
        return envelopes[-1]
    with suppress(RuntimeError):  # it waits again on its way out
        passage.close()
    raise PublishError(
        f"A SyncEventPublisher cannot publish {_name(event)}: a middleware around it ({onion}) waits for something "
        "other than call_next, for which a plain call has no event loop. Let its publish() wait for nothing else, or "
        "publish with an EventPublisher in an async def function."
    )


def _context(event: object, keywords: Mapping[str, Any], seal: Seal, envelopes: list[Envelope]) -> PublishContext:
    if not isinstance(event, (Event, RawEvent)):
        seal(event, keywords)
        raise PublishError(f"{_name(event)} is no event.")
    kind = RawEvent if isinstance(event, RawEvent) else Event
    flow, given = current_flow(), keywords.get
    tenant_id = given("tenant_id", UNSAID)
    before: dict[str, Any] = {
        "event_id": given("event_id"),
        "occurred_at": given("occurred_at"),
        "key": given("key"),
        "tenant_id": flow.tenant_id if tenant_id is UNSAID else tenant_id,
        "correlation_id": _first(given("correlation_id"), flow.correlation_id),
        "causation_id": _first(given("causation_id"), flow.causation_id),
        "headers": _read_only(given("headers"), event),
    }

    def end(context: PublishContext) -> Any:
        changes = {name: value for name in _REPLACEABLE if (value := getattr(context, name)) is not before[name]}
        if context.tenant_said:
            changes["tenant_id"] = context.tenant_id  # None too: it says that the event is nobody's
        if not isinstance(cast("Any", context.event), kind):
            raise PublishError(
                f"A middleware around publishing has put a {type(context.event).__qualname__} in place of "
                f"{_name(event)}. Replace an event by an event, and a RawEvent by a RawEvent."
            )
        envelopes.append(seal(context.event, {**keywords, **changes}))
        return envelopes[-1].id

    return PublishContext(event=event, seal=end, tenant_said=tenant_id is not UNSAID, **before)


def _first(given: Any, inherited: Any) -> Any:
    return inherited if given is None else given


def _read_only(headers: Any, event: object) -> Mapping[str, str]:
    if headers is not None and not isinstance(headers, Mapping):
        raise InvalidPayload(
            f"{_name(event)}: headers={ascii(headers)[:80]} is no mapping. Pass a dict of strings.", path="$.headers"
        )
    return MappingProxyType({**(headers or {})})


def _name(event: object) -> str:
    return f"raw event {ascii(event.name)[:80]}" if isinstance(event, RawEvent) else type(event).__qualname__
