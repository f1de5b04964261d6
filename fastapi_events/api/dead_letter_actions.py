"""Redrive and discard as operators ask for them: chosen ones, or all that match a filter as it was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from fastapi_events.api.observe import COUNT_LIMIT
from fastapi_events.api.observe.filters import DeadLetterFilter, about, check_text, parse_dead_letter_filter
from fastapi_events.api.operator import Operator
from fastapi_events.api.operator_port import Changed
from fastapi_events.errors import InvalidFilter, OperationRefused

MAX_IDS = 1_000
MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class Matching:
    """Everything that matches a filter and died before ``cut_off``, of which ``expected`` had been counted."""

    where: DeadLetterFilter
    cut_off: datetime
    expected: int


Selection = Sequence[UUID] | Matching


def matching(text: str, cut_off: datetime, expected: int) -> Matching:
    """All that match a filter; raises ``InvalidFilter`` for an empty one, because that is nobody's intention."""
    where = parse_dead_letter_filter(text)
    if not where.terms:
        raise InvalidFilter("Acting on all dead letters needs a filter, such as handler:payments.capture_payment.")
    if cut_off.tzinfo is None:
        raise InvalidFilter("cut_off has no time zone. Send it back as it was given.")
    try:
        cut_off = cut_off.astimezone(UTC)
    except OverflowError as error:
        raise InvalidFilter("cut_off is no moment in the years 1 to 9999. Send it back as it was given.") from error
    if expected < 1:
        raise InvalidFilter("expected is how many dead letters were counted, at least 1.")
    return Matching(where, cut_off, expected)


async def redrive(operator: Operator, selection: Selection, *, reason: str) -> Changed:
    """Try again with a fresh budget of attempts; raises ``OperationRefused`` if more match than were confirmed."""
    reason = check_reason(reason)
    if not isinstance(selection, Matching):
        return await operator.operations.redrive(_checked_ids(selection), actor=operator.actor.id, reason=reason)
    await _check_count(operator, selection)
    where = selection.where
    return await operator.operations.redrive_matching(
        handler=where.handler, event_name=where.event_name, fingerprint=where.fingerprint,
        changed_before=selection.cut_off, limit=selection.expected, actor=operator.actor.id, reason=reason,
    )  # fmt: skip


async def discard(operator: Operator, selection: Selection, *, reason: str) -> Changed:
    """Give up for good, with a reason; raises ``OperationRefused`` if more match than were confirmed."""
    reason = check_reason(reason, needed=True)
    if not isinstance(selection, Matching):
        return await operator.operations.discard(_checked_ids(selection), actor=operator.actor.id, reason=reason)
    await _check_count(operator, selection)
    where = selection.where
    return await operator.operations.discard_matching(
        handler=where.handler, event_name=where.event_name, fingerprint=where.fingerprint,
        changed_before=selection.cut_off, limit=selection.expected, actor=operator.actor.id, reason=reason,
    )  # fmt: skip


async def _check_count(operator: Operator, selection: Matching) -> None:
    """Refuse to act on more than was looked at. A count that was stopped at its bound is a bound itself."""
    if selection.expected >= COUNT_LIMIT:
        return
    count = await operator.observe.dead_letter_count(selection.where, cut_off=selection.cut_off)
    if count > selection.expected:
        raise OperationRefused(
            f"{count:,} dead letters match now, but {selection.expected:,} were confirmed. Nothing was changed: "
            "look again."
        )


def _checked_ids(ids: Sequence[UUID]) -> Sequence[UUID]:
    if not 1 <= len(ids) <= MAX_IDS:
        raise about("ids", f"{len(ids)} dead letters are chosen; choose 1 to {MAX_IDS:,}.")
    return list(dict.fromkeys(ids))


def check_reason(reason: str, *, needed: bool = False) -> str:
    """The reason of an action, without spaces around it; raises ``InvalidFilter`` for one that cannot be kept."""
    if needed and not reason.strip():
        problem = "Discarding needs a reason, which is kept with what is discarded. Give one: reason=…, or --reason."
        raise about("reason", problem)
    if len(reason) > MAX_REASON:
        raise about("reason", f"The reason has {len(reason)} characters; {MAX_REASON} are allowed.")
    try:
        return check_text(reason.strip(), "The reason")
    except InvalidFilter as error:
        error.where = "reason"
        raise
