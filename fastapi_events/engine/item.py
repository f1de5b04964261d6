"""One claimed event on its way through the handlers: the stored row, decoded at most once per class."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from fastapi_events.engine.failure import failure
from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.stored_versions import StoredVersions, Unreadable
from fastapi_events.model.context import Flow
from fastapi_events.model.delivery import DeadReason, Delivery
from fastapi_events.model.erasure import ERASED_PAYLOAD, ERASED_TEXT
from fastapi_events.model.event import Event, RawEvent
from fastapi_events.model.identity import mark_key
from fastapi_events.model.registry import Registry

_NO_HEADERS: Mapping[str, str] = {}


class ErasedContent(Unreadable):
    """There is nothing left to give to a handler."""

    def __init__(self) -> None:
        super().__init__("erased", failure("ErasedContent", ERASED_TEXT))


class Item:
    """An event as claimed. Rows come from two statements; both name their columns alike."""

    __slots__ = ("_decoded", "id", "key", "lane", "name", "partition", "position", "row", "version", "xid")

    def __init__(self, row: Any, *, lane: int, version: int, xid: int | None) -> None:
        self.row = row
        self.position: int = row["position"]
        self.partition: int = row["partition"]
        self.id: UUID = row["id"]
        self.name: str = row["name"]
        self.key: str | None = row["key"]
        self.lane, self.version, self.xid = lane, version, xid
        self._decoded: dict[Any, Any] = {}

    @property
    def postponed(self) -> int:
        """How often its delivery was postponed or interrupted before; none of that is known of an event just read."""
        return self.row.get("postponed") or 0

    @property
    def many(self) -> bool:
        """Whether it is a list of more than one event."""
        return False

    @property
    def versions(self) -> StoredVersions:
        """What there is of it: to be asked where its own version is not the wanted one."""
        return StoredVersions(self.name, self.version, self.row["payload"], self.row["other_versions"])

    def slot(self, *, ordered: bool) -> str:
        """What followers of this event share with it: its ordering key, or nothing but itself."""
        return self.key if ordered and self.key is not None else f"#{self.position}"

    def event_for(self, handler: Handler, registry: Registry) -> Any:
        """The event as the handler takes it; raises ``Unreadable`` if it cannot be."""
        wanted = handler.declaration.event_class
        if wanted is None:
            wanted = self.class_for(handler, registry)
        event = self._decoded.get(wanted)
        if event is None:
            event = self._decoded[wanted] = self._decode(wanted, registry)
        if isinstance(event, Unreadable):
            raise event
        return event

    def class_for(self, handler: Handler, registry: Registry) -> type[Event] | None:
        """The class that the handler takes the event as; None if it takes it raw."""
        wanted = handler.declaration.event_class
        if wanted is None and not handler.raw:
            return registry.class_of(self.name, self.version) or self._nearest_class(registry)
        return wanted

    def _nearest_class(self, registry: Registry) -> type[Event] | None:
        classes = registry.classes_of(self.name)
        return self.versions.nearest(classes, registry.upcasters) if classes else None

    def _decode(self, wanted: Any, registry: Registry) -> Any:
        payload: str = self.row["payload"]
        if payload == ERASED_PAYLOAD:
            return ErasedContent()
        if wanted is None:
            try:
                return RawEvent(self.name, self.version, json.loads(payload))
            except (ValueError, RecursionError) as error:
                return Unreadable("undecodable", failure(type(error).__name__, str(error)))
        return decode(wanted, payload if wanted.__event_options__.version == self.version else self.versions, registry)

    def idempotency_key(self, handler: Handler, event: Any) -> str:
        """The key under which the handler is done with this event only once."""
        declared = handler.declaration.idempotency_key
        return str(declared(event)) if declared is not None else str(self.id)

    def mark(self, handler: Handler, event: Any) -> UUID:
        """The same key as the processing marks store it."""
        declared = handler.declaration.idempotency_key
        return self.id if declared is None else mark_key(str(declared(event)))

    def flow(self) -> Flow:
        """What events published while this one is handled inherit."""
        row = self.row
        return Flow(
            correlation_id=row["correlation_id"],
            causation_id=self.id,
            tenant_id=row["tenant_id"],
            actor=row["actor"],
            traceparent=self.headers.get("traceparent"),
            depth=row["depth"] + 1,
        )

    @property
    def headers(self) -> Mapping[str, str]:
        """The event's headers."""
        text = self.row["headers"]
        return json.loads(text) if text else _NO_HEADERS

    def delivery(
        self, handler: Handler, event: Any, attempt: int, *, redelivered: bool, replay: UUID | None = None
    ) -> Delivery:
        """What the handler may know about its delivery."""
        row = self.row
        return Delivery(
            event_id=self.id,
            name=self.name,
            position=self.position,
            attempt=attempt,
            redelivered=redelivered,
            idempotency_key=self.idempotency_key(handler, event),
            correlation_id=row["correlation_id"],
            causation_id=row["causation_id"],
            tenant_id=row["tenant_id"],
            headers=self.headers,
            deadline=datetime.now(UTC) + timedelta(seconds=handler.timeout),
            published_at=row["published_at"],
            replay_id=replay,
        )


def decode(wanted: Any, stored: str | StoredVersions, registry: Registry) -> Any:
    """An event as its class, or the ``Unreadable`` that says why not; ``stored`` is its text, or all its versions."""
    try:
        payload = stored if isinstance(stored, str) else stored.text_for(wanted.__event_options__, registry.upcasters)
        return wanted.__pydantic_validator__.validate_json(payload, by_alias=True, by_name=True)
    except ValidationError as error:
        return _refused(error)
    except Unreadable as error:
        return error
    except Exception as error:  # noqa: BLE001 - a user's validator may raise anything; the batch goes on
        return Unreadable("invalid_payload", failure(type(error).__name__, _text(error)))


def _refused(error: ValidationError) -> Unreadable:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    text = "; ".join(f"{'.'.join(map(str, p['loc'])) or '$'}: {p['msg']}" for p in problems[:5])
    reason: DeadReason = "undecodable" if problems[0]["type"] == "json_invalid" else "invalid_payload"
    return Unreadable(reason, failure("ValidationError", f"{error.title}: {text}"))


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not stop the batch
        return "(the exception's own message could not be read)"
