"""Dual publish: one event that carries its payload in more than one version, for handlers that have not moved yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, cast

from fastapi_events.errors import PayloadTooLarge, PublishError
from fastapi_events.model.envelope import Envelope
from fastapi_events.model.event import Event


def with_other_versions(envelope: Envelope, also: Any, seal_one: Callable[[Event], Envelope], limit: int) -> Envelope:
    """The envelope with the payloads of the events in ``also``, which are sealed like any other.

    They must be the same event as the first in all but version and payload: name, aggregate, its id and the key. All
    payloads together may have ``limit`` bytes. Raises ``PublishError`` and its kinds, before any SQL.
    """
    payloads = {envelope.version: envelope.payload}
    for event in _several(also, envelope.name):
        other = seal_one(event)
        _check_same(envelope, other)
        if other.version in payloads:
            _refuse(envelope.name, f"two payloads of version {other.version}. Each version is given once.")
        payloads[other.version] = other.payload
    size = sum(len(payload.encode()) for payload in payloads.values())
    if size > limit:
        raise PayloadTooLarge(
            f"{envelope.name}: the payload has {size:,} bytes in its {len(payloads)} versions together; "
            f"max_payload_size is {limit:,}. Store large content elsewhere and publish a reference to it, or raise "
            "EVENTS_MAX_PAYLOAD_SIZE."
        )
    del payloads[envelope.version]
    if not payloads:
        return envelope
    beside = ",".join(f'"{version}":{payload}' for version, payload in sorted(payloads.items()))
    return envelope._replace(other_versions=f"{{{beside}}}")


def _several(also: object, name: str) -> Iterable[Event]:
    if isinstance(also, Event):
        return [also]
    several: Sequence[Any] = cast("Sequence[Any]", also) if isinstance(also, list | tuple) else (None,)
    if all(isinstance(event, Event) for event in several):
        return several
    return _refuse(
        name,
        f"also={ascii(cast('Any', also))[:80]} is neither an event nor a list of events. Pass an instance of the class "
        "of another version, e.g. also=OrderPlacedV1(...).",
    )


def _check_same(first: Envelope, other: Envelope) -> None:
    for what in ("name", "lane", "aggregate", "aggregate_id", "key"):
        mine, theirs = getattr(first, what), getattr(other, what)
        if mine != theirs:
            _refuse(
                first.name,
                f"also=... is version {other.version} of {other.name!r} with {what} {ascii(theirs)[:80]} in place of "
                f"{ascii(mine)[:80]}. It is one event in several versions: publish another fact by itself.",
            )


def _refuse(name: str, problem: str) -> NoReturn:
    raise PublishError(f"publish() of {name!r}: {problem}")
