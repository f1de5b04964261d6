"""An event with everything the log keeps beside its payload."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from fastapi_events.errors import ContradictoryOptions, InvalidPayload, UnknownEvent
from fastapi_events.model.context import Flow
from fastapi_events.model.event import Direction, Event, EventOptions, RawEvent, declare, options_of
from fastapi_events.model.identity import new_id
from fastapi_events.model.lane import LaneNumber, LogPlace, Partition, lane_of, partition_of, place_of
from fastapi_events.model.payload import check_json_value, checked_text, encode_payload, encode_raw
from fastapi_events.model.schedule import Due, due_of, schedule_place
from fastapi_events.model.tenancy import UNSAID, Unsaid, checked_tenant, missing_tenant

logger = logging.getLogger("fastapi_events")


class Envelope(NamedTuple):
    """One event as it is appended to the log; ``payload`` and ``headers`` are JSON text, and so is ``other_versions``,
    an object of further payloads by version.

    With ``due`` it is scheduled instead, and appended when its time has come.

    A tuple, because it is made for every event that is published: a frozen dataclass costs six times as much.
    """

    id: UUID
    explicit_id: bool
    serialize: bool
    lane: LaneNumber
    partition: Partition
    name: str
    version: int
    aggregate: str | None
    aggregate_id: str | None
    key: str | None
    tenant_id: str | None
    correlation_id: UUID
    causation_id: UUID | None
    actor: str | None
    depth: int
    occurred_at: datetime
    headers: str | None
    payload: str
    due: Due | None = None
    other_versions: str | None = None

    @property
    def place(self) -> LogPlace:
        """Where in the log it goes, partition and lane as one number; or that it was scheduled, and how soon."""
        return place_of(self.lane, self.partition) if self.due is None else schedule_place(self.due)


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What ``publish`` may be told about one event; everything left out is inherited or derived.

    A tenant of None is not left out: it says that the event belongs to no tenant, whatever flows here.
    """

    event_id: UUID | None = None
    occurred_at: datetime | None = None
    delay: float | timedelta | None = None
    at: datetime | None = None
    key: str | None = None
    tenant_id: str | Unsaid | None = UNSAID
    correlation_id: UUID | None = None
    causation_id: UUID | None = None
    headers: Mapping[str, str] | None = None
    also: Event | Sequence[Event] | None = None


@dataclass(frozen=True, slots=True)
class PublishRules:
    """The settings that decide how an event is sealed."""

    partitions: int = 32
    max_payload_size: int = 1_048_576
    warn_payload_size: int = 65_536
    validate_payloads: bool = True
    multi_tenant: bool = False


NO_OPTIONS = PublishOptions()

MAX_KEY_BYTES = 2500
"""Bytes that an ordering key may have with its tenant and aggregate, and an aggregate with its id.

An index entry of PostgreSQL holds 2,704. Five hundred characters of each fit unless most of them take three bytes or
more, and such a key is refused where it is published, rather than when one of its deliveries has to be parked.
"""
MAX_HEADERS_SIZE = 65_536


def seal(event: Event, rules: PublishRules, flow: Flow, given: PublishOptions = NO_OPTIONS) -> Envelope:
    """Make the envelope of ``event``: validate and serialise it, derive its key, and inherit from ``flow``.

    Raises ``UnknownEvent`` for an abstract class, ``InvalidPayload`` or ``PayloadTooLarge`` for its content,
    always before any SQL.
    """
    kind = _kind_of(type(event))
    owner, options = kind.owner, kind.options
    payload = encode_payload(event, owner=owner, max_size=rules.max_payload_size, validate=rules.validate_payloads)
    aggregate_id = None if options.aggregate_id is None else _field_text(event, options.aggregate_id, owner)
    key = aggregate_id if options.key is None else _field_text(event, options.key, owner)
    return _enclose(kind, payload, aggregate_id, key, rules, flow, given)


def seal_raw(
    raw: RawEvent,
    rules: PublishRules,
    flow: Flow,
    given: PublishOptions = NO_OPTIONS,
    *,
    direction: Direction = "change",
    aggregate: str | None = None,
    aggregate_id: str | None = None,
) -> Envelope:
    """Make the envelope of an event that has no class here; its payload is any JSON value.

    ``aggregate`` defaults to the middle part of a three-part name, ``aggregate_id`` is the ordering key unless
    ``given.key`` is. Raises ``InvalidEventName``, ``ContradictoryOptions``, ``InvalidPayload`` or
    ``PayloadTooLarge``, always before any SQL.
    """
    owner = f"raw event {ascii(raw.name)[:80]}"
    options = declare(owner, {"name": raw.name, "version": raw.version, "direction": direction, "aggregate": aggregate})
    payload = encode_raw(raw.payload, owner=owner, max_size=rules.max_payload_size)
    if options.aggregate is not None:
        checked_text(options.aggregate, "aggregate", owner)
    if aggregate_id is not None:
        aggregate_id = checked_text(str(aggregate_id), "aggregate_id", owner)
    kind = _Kind(owner, options, lane_of(options), f"/{options.aggregate or ''}/")
    return _enclose(kind, payload, aggregate_id, aggregate_id, rules, flow, given)


class _Kind(NamedTuple):
    """What the events of one class have in common, read once."""

    owner: str
    options: EventOptions
    lane: LaneNumber
    key_prefix: str


@cache
def _kind_of(event_class: type[Event]) -> _Kind:
    options = options_of(event_class)
    owner = event_class.__qualname__
    if options is None:
        raise UnknownEvent(f"{owner} has no name=, so it is abstract and cannot be published. Give the class a name.")
    if options.aggregate is not None:
        checked_text(options.aggregate, "aggregate", owner)
    return _Kind(owner, options, lane_of(options), f"/{options.aggregate or ''}/")


def _enclose(
    kind: _Kind,
    payload: str,
    aggregate_id: str | None,
    own_key: str | None,
    rules: PublishRules,
    flow: Flow,
    given: PublishOptions,
) -> Envelope:
    owner, options = kind.owner, kind.options
    if given is not NO_OPTIONS:
        own_key = _check_given(given, own_key, owner)
    if own_key is None and options.serialize:
        raise ContradictoryOptions(
            f"{owner}: serialize=True, but this event has no ordering key: the field that it names is None. Give it a "
            "value, or pass key= to publish."
        )
    event_id = given.event_id or new_id()
    tenant = flow.tenant_id if given.tenant_id is UNSAID else given.tenant_id
    if tenant is None and rules.multi_tenant and given.tenant_id is UNSAID:
        raise missing_tenant(owner)
    if tenant is not None:
        checked_tenant(tenant, owner)
    if flow.actor is not None:
        checked_text(flow.actor, "actor", owner)
    key = None if own_key is None else f"{tenant or ''}{kind.key_prefix}{own_key}"
    _check_index(key, aggregate_id, options.aggregate, owner)
    headers = given.headers is not None or flow.traceparent is not None
    # By place: naming eighteen fields takes as long again as setting them.
    return Envelope(
        event_id,
        given.event_id is not None,  # explicit_id
        options.serialize,
        kind.lane,
        partition_of(str(event_id) if key is None else key, rules.partitions),
        options.name,
        options.version,
        options.aggregate,
        aggregate_id,
        key,
        tenant,
        given.correlation_id or flow.correlation_id or event_id,
        given.causation_id or flow.causation_id,
        flow.actor,
        flow.depth,
        datetime.now(UTC) if given.occurred_at is None else given.occurred_at.astimezone(UTC),
        _headers(given.headers, flow.traceparent, owner) if headers else None,
        payload,
        None if given is NO_OPTIONS else due_of(given.delay, given.at, owner),
    )


def _field_text(event: Event, field: str, owner: str) -> str | None:
    value = getattr(event, field)
    if value is None:
        return None
    return str(value) if type(value) is UUID else checked_text(str(value), field, owner)


def _check_index(key: str | None, aggregate_id: str | None, aggregate: str | None, owner: str) -> None:
    """Refuse what would not fit into an index entry; ASCII does, as there is room for three texts of 500 characters."""
    if key is not None and not key.isascii():
        _check_bytes(key, "the ordering key with its tenant and aggregate", "key", owner)
    if aggregate_id is not None and not aggregate_id.isascii():
        _check_bytes(f"{aggregate or ''}{aggregate_id}", "aggregate_id with its aggregate", "aggregate_id", owner)


def _check_bytes(text: str, what: str, field: str, owner: str) -> None:
    size = len(text.encode())
    if size > MAX_KEY_BYTES:
        raise InvalidPayload(
            f"{owner}: {what} has {size:,} bytes in UTF-8; {MAX_KEY_BYTES:,} are the most, since PostgreSQL "
            "keeps it in an index. Use a shorter identifier, or a hash of it.",
            path=f"$.{field}",
        )


def _check_given(given: PublishOptions, own_key: str | None, owner: str) -> str | None:
    """Check the options' types; returns the key that holds."""
    for what in ("event_id", "correlation_id", "causation_id"):
        value = getattr(given, what)
        if value is not None and not isinstance(value, UUID):
            raise InvalidPayload(
                f"{owner}: {what}={ascii(value)[:80]} is not a UUID. Use deterministic_id(source, external_id) for "
                "an upstream system's id, or UUID(...) for a text."
            )
    if given.occurred_at is not None:
        _check_moment(given.occurred_at, owner)
    return own_key if given.key is None else checked_text(given.key, "key", owner)


def _check_moment(moment: object, owner: str) -> None:
    shown = ascii(str(moment))[:80]
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidPayload(
            f"{owner}: occurred_at={shown} has no time zone. Pass an aware datetime.", path="$.occurred_at"
        )
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise InvalidPayload(
            f"{owner}: occurred_at={shown} is outside the years 1 to 9999 in UTC. Pass a moment inside them.",
            path="$.occurred_at",
        ) from None


def _headers(given: Mapping[str, str] | None, traceparent: str | None, owner: str) -> str | None:
    headers: dict[Any, Any] = dict(given or {})
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidPayload(
                f"{owner}: headers: {ascii(name)[:80]} is no text. Header names and values are strings."
            )
    if traceparent is not None:
        headers.setdefault("traceparent", traceparent)
    check_json_value(headers, owner=f"{owner}: headers")
    text = json.dumps(headers, ensure_ascii=False) if headers else None
    if text is not None and (size := len(text.encode())) > MAX_HEADERS_SIZE:
        raise InvalidPayload(
            f"{owner}: headers have {size:,} bytes in all; {MAX_HEADERS_SIZE:,} are the most. Put content into the "
            "payload.",
            path="$.headers",
        )
    return text
