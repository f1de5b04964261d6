"""Filters as people write them: ``name:orders.* status:dead after:2h``, one string for pages, API and command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Literal, get_args
from uuid import UUID

from fastapi_events.errors import InvalidFilter
from fastapi_events.model.event import Tier
from fastapi_events.store.readings_log import HistoryFilter

MAX_LENGTH = 500
MAX_TERMS = 12
MAX_PAYLOAD_TERMS = 3
StatusTerm = Literal["pending", "waiting", "dead", "discarded", "done"]
STATUSES: tuple[StatusTerm, ...] = get_args(StatusTerm)
TIERS: tuple[Tier, ...] = get_args(Tier)
EVENT_TERMS = (
    "name", "status", "handler", "aggregate", "tenant", "correlation", "causation", "actor", "key", "id", "tier",
    "after", "before",
)  # fmt: skip
DEAD_LETTER_TERMS = ("handler", "name", "cause")
_TERM = re.compile(r'(?:([A-Za-z_][\w.\-]*):)?(?:"([^"]*)"|(\S+))')
_AGO = re.compile(r"(\d{1,6})([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FINGERPRINT = re.compile(r"[0-9a-f]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a filter; ``text`` is how it was written."""

    key: str
    value: str
    text: str


@dataclass(frozen=True, slots=True)
class EventFilter:
    """A filter of events, understood. ``reads_payload``: it looks into payloads, which not everybody may."""

    terms: tuple[Term, ...]
    where: HistoryFilter
    status: StatusTerm | None

    @property
    def event_name(self) -> str | None:
        """The one name that events must have; None for any or several."""
        name = next((term.value for term in self.terms if term.key == "name"), "*")
        return None if "*" in name else name.replace(":", ".", 1)

    @property
    def reads_payload(self) -> bool:
        return bool(self.where.payload)


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """A filter of dead letters, understood; None is any."""

    terms: tuple[Term, ...] = ()
    handler: str | None = None
    event_name: str | None = None
    fingerprint: str | None = None


def parse_event_filter(text: str) -> EventFilter:
    """Understand a filter of events; raises ``InvalidFilter`` naming the term, the rule and the mend.

    Terms are joined by "and". ``name:`` takes ``*``; ``aggregate:`` is ``order`` or ``order/4711``; ``after:`` and
    ``before:`` are about publishing and take ``2026-01-31``, ``2026-01-31T12:00Z`` (UTC unless said) or an age such as
    ``30m``, ``2h``, ``7d``; ``key:`` is a whole ordering key, ``tenant/aggregate/value`` (``/order/4711`` without a
    tenant); ``payload.customer.id:4711`` compares one value. A bare word is an id or a name.
    """
    terms = tuple(terms_of(text, EVENT_TERMS))
    status: StatusTerm | None = next((_status(term) for term in terms if term.key == "status"), None)
    payload = tuple(_payload_value(term) for term in terms if term.key.startswith("payload."))
    if len(payload) > MAX_PAYLOAD_TERMS:
        raise InvalidFilter(f"The filter compares {len(payload)} payload values; {MAX_PAYLOAD_TERMS} are allowed.")
    fields: dict[str, Any] = {}
    for term in terms:
        fields.update(_fields(term))
    state = status if status in ("waiting", "dead", "discarded") else None
    where = HistoryFilter(payload=payload, delivery_state=state, **fields)
    if where.published_from and where.published_before and where.published_from >= where.published_before:
        raise InvalidFilter("after: is not earlier than before:, so nothing can match. Swap or drop one of them.")
    return EventFilter(terms, where, status)


def parse_dead_letter_filter(text: str) -> DeadLetterFilter:
    """Understand a filter of dead letters (``handler:``, ``name:``, ``cause:``); raises ``InvalidFilter``."""
    terms = tuple(terms_of(text, DEAD_LETTER_TERMS))
    values = {term.key: term.value for term in terms}
    cause = values.get("cause")
    if cause is not None:
        cause = fingerprint_of(cause)
    return DeadLetterFilter(terms, values.get("handler"), values.get("name"), cause)


def fingerprint_of(cause: str) -> str:
    """The fingerprint of an error; raises ``InvalidFilter``."""
    if not _FINGERPRINT.match(cause):
        raise InvalidFilter(f"cause:{cause[:40]} is not the fingerprint of an error, which is hexadecimal digits.")
    return cause


def check_text(text: str, what: str) -> str:
    """Return ``text``, or raise ``InvalidFilter`` for characters that a database cannot be asked for."""
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in text):
        raise InvalidFilter(f"{what} holds a control character. Remove it.")
    return text


def as_uuid(given: object) -> UUID | None:
    """A UUID from itself or its text with hyphens; None for anything else."""
    if isinstance(given, UUID):
        return given
    return UUID(given) if isinstance(given, str) and _is_uuid(given) else None


def checked_id(given: UUID | str, what: str) -> UUID:
    """The id to look up, a UUID or its text; raises ``InvalidFilter``."""
    found = as_uuid(given)
    if found is None:
        raise InvalidFilter(f"{what}={str(given)[:60]!r} is not a UUID such as 0197c0de-0000-7000-8000-000000000000.")
    return found


def about(parameter: str, problem: str) -> InvalidFilter:
    """The error that says which parameter it is about."""
    error = InvalidFilter(problem)
    error.where = parameter
    return error


def is_whole_key(text: str) -> bool:
    """Whether it can be a key as it is stored, which a bare value never equals: asked for one, the log has nothing."""
    return text.count("/") >= 2


def own_part(key: str) -> str:
    """What stands behind the tenant and the aggregate, as far as people have to see it."""
    return key[:40].rpartition("/")[2]


def terms_of(text: str, known: tuple[str, ...], *, names: str = "name") -> Iterator[Term]:
    """The parts of a filter; a bare word with a dot is of the key ``names``. Raises ``InvalidFilter``."""
    if len(text) > MAX_LENGTH:
        raise InvalidFilter(f"The filter has {len(text)} characters; {MAX_LENGTH} are allowed.")
    matches = list(_TERM.finditer(check_text(text, "The filter")))
    if len(matches) > MAX_TERMS:
        raise InvalidFilter(f"The filter has {len(matches)} terms; {MAX_TERMS} are allowed.")
    seen: set[str] = set()
    for match in matches:
        key, value = _key_of(match, known, names), match[2] if match[2] is not None else match[3]
        if key in seen:
            raise InvalidFilter(f"{key}: is given twice; terms are joined by “and”. Keep one of them.")
        if not value:
            raise InvalidFilter(f"{key}: has no value. Write {key}:something, or drop it.")
        seen.add(key)
        yield Term(key, value, match[0])


def _key_of(match: re.Match[str], known: tuple[str, ...], names: str) -> str:
    key, bare = match[1], match[3]
    if key is None:
        if bare and "id" in known and _is_uuid(bare):
            return "id"
        if bare and names in known and "." in bare and ":" not in bare:
            return names
        if bare and bare.endswith(":"):
            raise InvalidFilter(f"{bare[:60]} has no value. Write {bare[:60]}something, or drop it.")
        raise InvalidFilter(f"{match[0][:60]!r} is no filter term. Write key:value; the keys are {', '.join(known)}.")
    if key in known or (known is EVENT_TERMS and key.startswith("payload.") and len(key) > len("payload.")):
        return key
    near = get_close_matches(key, known, n=1)
    mend = f"Did you mean {near[0]}:?" if near else f"The keys are {', '.join(known)}."
    raise InvalidFilter(f"{key[:60]}: is no key of this filter. {mend}")


def _status(term: Term) -> StatusTerm:
    for status in STATUSES:
        if status == term.value:
            return status
    raise InvalidFilter(f"status:{term.value[:40]} does not exist. It is one of {', '.join(STATUSES)}.")


def _tier(value: str) -> Tier:
    for tier in TIERS:
        if tier == value:
            return tier
    raise InvalidFilter(f"tier:{value[:40]} does not exist. It is one of {', '.join(TIERS)}.")


def _payload_value(term: Term) -> tuple[tuple[str, ...], str]:
    return tuple(term.key.split(".")[1:]), term.value


def _fields(term: Term) -> dict[str, Any]:
    """The fields of a ``HistoryFilter`` that a term sets."""
    key, value = term.key, term.value
    if key == "status" or key.startswith("payload."):
        return {}
    if key == "name":
        return {"name": _like(value)}
    if key == "aggregate":
        aggregate, _, number = value.partition("/")
        return {"aggregate": aggregate, "aggregate_id": number or None}
    if key == "tier":
        return {"audit": _tier(value) == "audit"}
    if key in ("after", "before"):
        return {"published_from" if key == "after" else "published_before": moment_of(term)}
    if key in ("id", "correlation", "causation"):
        return {key if key == "id" else f"{key}_id": uuid_of(term)}
    return {"tenant_id" if key == "tenant" else key: _ordering_key(value) if key == "key" else value}


def _like(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace(":", ".", 1).replace("*", "%")


def _ordering_key(value: str) -> str:
    if not is_whole_key(value):
        own = own_part(value)
        raise InvalidFilter(
            f"key:{value[:40]} is no whole ordering key, which is tenant/aggregate/value. "
            f"Write key:acme/order/{own}, or key:/order/{own} where there is no tenant."
        )
    return value


def uuid_of(term: Term) -> UUID:
    """The UUID that a term has; raises ``InvalidFilter``."""
    if not _is_uuid(term.value):
        raise InvalidFilter(f"{term.key}:{term.value[:40]} is not a UUID such as 0197c0de-0000-7000-8000-000000000000.")
    return UUID(term.value)


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) is not None


def moment_of(term: Term) -> datetime:
    """The moment that a term has: a date, a time, or an age; raises ``InvalidFilter``."""
    ago = _AGO.match(term.value)
    try:
        if ago:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(term.value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidFilter(
            f"{term.key}:{term.value[:40]} is no time. Write 2026-01-31, 2026-01-31T12:00Z, or an age: 30m, 2h, 7d."
        ) from None
