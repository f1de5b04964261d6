"""Which events a replay is of, as people say it, checked before the database is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Literal, TypedDict
from uuid import UUID

from fastapi_events.api.observe.filters import as_uuid, is_whole_key, own_part, parse_event_filter
from fastapi_events.api.observe.given import HIGHEST, aware, whole
from fastapi_events.errors import OperationRefused
from fastapi_events.model.names import is_pattern, matches, regular_expression
from fastapi_events.model.replay import ReplaySelection
from fastapi_events.model.unknown_options import check_known

_UNASKABLE = re.compile("[\x00\ud800-\udfff]")


class ReplayFilter(TypedDict, total=False):
    """What narrows a replay; what is left out, or None, narrows nothing, and every condition must hold.

    Positions are inclusive. ``since`` is inclusive and ``until`` exclusive; both need a time zone. ``events`` are names
    of events among those that the handler selects. ``key`` is a whole ordering key: ``tenant/aggregate/value``.
    """

    from_position: int | None
    to_position: int | None
    since: datetime | None
    until: datetime | None
    events: Sequence[str] | None
    aggregate: str | None
    aggregate_id: str | None
    key: str | None
    tenant_id: str | None
    correlation_id: UUID | str | None


_OPTIONS: dict[str, tuple[str, ...]] = {"preview": ("rate",), "start": ("rate", "expected", "actor", "reason")}


def check_conditions(act: Literal["preview", "start"], where: Mapping[str, object]) -> None:
    """Raise ``UnknownOption`` for what is no condition: one that is not understood would let all of history through."""
    known = (*ReplayFilter.__annotations__, *_OPTIONS[act])
    check_known(where, known, owner=f"replays.{act}()")


def moment_of(word: Literal["since", "until"], text: str | None) -> datetime | None:
    """A time as people write it (``2h``, ``7d``, ``2026-01-31``, ``2026-01-31T12:00Z``); raises ``InvalidFilter``."""
    if not text:
        return None
    where = parse_event_filter(f"{'after' if word == 'since' else 'before'}:{text}").where
    return where.published_from if word == "since" else where.published_before


def selection_of(selects: str, where: ReplayFilter, tenants: tuple[str, ...] | None) -> ReplaySelection:
    """The selection, within tenants if somebody may see only theirs; raises ``OperationRefused``."""
    low, high = where.get("from_position") or 0, where.get("to_position")
    for name, number in (("from_position", low), ("to_position", high)):
        if number is not None:
            whole(name, number)
    if low < 0 or (high is not None and high < low) or max(low, high or 0) > HIGHEST:
        raise OperationRefused(
            f"from_position={low} to_position={high}: positions count from 0, and the last is not before the first."
        )
    since, until = where.get("since"), where.get("until")
    for name, moment in (("since", since), ("until", until)):
        if moment is not None:
            aware(name, moment)
    if since is not None and until is not None and until <= since:
        raise OperationRefused(f"until={until.isoformat()} is not after since={since.isoformat()}.")
    names = _names(selects, where.get("events"))
    texts = {name: checked_text(name, where.get(name)) for name in ("aggregate", "aggregate_id", "key", "tenant_id")}
    _check_key(texts["key"])
    return ReplaySelection(
        names=names, pattern=regular_expression(selects) if names is None else None,
        aggregate=texts["aggregate"], aggregate_id=texts["aggregate_id"], key=texts["key"],
        tenants=_tenants(texts["tenant_id"], tenants), correlation_id=_correlation(where.get("correlation_id")),
        since=since, until=until, from_position=low, to_position=high,
    )  # fmt: skip


def _names(selects: str, wanted: Sequence[str] | None) -> tuple[str, ...] | None:
    if not wanted:
        return None if is_pattern(selects) else (selects,)
    if isinstance(wanted, str):
        raise OperationRefused(f"events={wanted!r} is not a list of names. Put it in brackets: [{wanted!r}].")
    names = tuple(dict.fromkeys(name.replace(":", ".", 1) for name in wanted))
    for name in names:
        checked_text("events", name)
        if not matches(selects, name):
            near = get_close_matches(name, [selects], n=1)
            hint = f" Did you mean {near[0]!r}?" if near and not is_pattern(selects) else ""
            raise OperationRefused(f"The handler takes {selects!r}, and {ascii(name)[:80]} is none of it.{hint}")
    return names


def _check_key(key: str | None) -> None:
    if key is not None and not is_whole_key(key):
        own = own_part(key)
        raise OperationRefused(
            f"key={ascii(key)[:60]} is no whole ordering key, which is tenant/aggregate/value. Say "
            f"{f'acme/order/{own}'!r}, or {f'/order/{own}'!r} where there is no tenant."
        )


def _tenants(wanted: str | None, allowed: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Whose events; of a tenant that somebody may not see, nobody's."""
    if wanted is None:
        return allowed
    return (wanted,) if allowed is None or wanted in allowed else ()


def _correlation(given: UUID | str | None) -> UUID | None:
    found = as_uuid(given)
    if given is not None and found is None:
        raise OperationRefused(f"correlation_id={str(given)[:60]!r} is no UUID such as events have it.")
    return found


def checked_text(name: str, text: object) -> str | None:
    """A text that the database can be asked for; raises ``OperationRefused``."""
    if text is None:
        return None
    if not isinstance(text, str) or not text or _UNASKABLE.search(text):
        raise OperationRefused(
            f"{name}={ascii(text)[:80]} is nothing that an event can have. Pass it as events have it."
        )
    return text
