"""What ``publish`` may be told about an event, and what is said to whoever tells it something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

from fastapi_events.errors import InvalidPayload, PublishError
from fastapi_events.model.envelope import PublishOptions
from fastapi_events.model.event import Event
from fastapi_events.model.unknown_options import check_known

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


class TypedKeywords(SingleKeywords, total=False):
    """Options of one event that has a class: ``also`` is the same event in other versions, for handlers of those."""

    also: Event | Sequence[Event] | None


def check_options(given: Mapping[str, Any], *more: str) -> None:
    """Raise ``UnknownOption`` for what is no option of ``publish``, nor one of these; the near miss is named."""
    check_known(given, (*more, *_OPTIONS), owner="publish()")


def refuse_also(given: Mapping[str, Any], what: str) -> None:
    """Refuse other versions where more than one event, or none of a class, is published."""
    if given.get("also") is not None:
        raise PublishError(
            f"{what} takes no also=..., which belongs to one event of a class. Publish it by itself: "
            "publish(event, also=other_version)."
        )


def checked_options(given: Mapping[str, Any]) -> PublishOptions:
    """The options as a value; raises ``UnknownOption``, or ``InvalidPayload`` for what is no moment."""
    check_options(given)
    moment = given.get("occurred_at")
    if moment is not None and not isinstance(moment, datetime):
        raise InvalidPayload(
            f"publish(): occurred_at={ascii(moment)[:80]} has no time zone: it is no datetime. Pass an aware datetime, "
            "e.g. datetime.now(UTC).",
            path="$.occurred_at",
        )
    return PublishOptions(**given)
