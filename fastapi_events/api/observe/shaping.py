"""From rows to what readings return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args
from uuid import UUID

from fastapi_events.api.observe.views import (
    Attempt,
    DeadLetter,
    DeliveryDetail,
    EventStatus,
    EventSummary,
    HandlerDelivery,
    HandlerState,
    HandlerView,
    Standing,
    View,
)
from fastapi_events.model.lane import AUDIT, LANE_NAMES
from fastapi_events.store import readings_states

_WORST_FIRST: tuple[HandlerState, ...] = ("dead", "waiting", "running", "pending", "discarded", "done")
V = TypeVar("V", bound=View)


def lane_name(number: int) -> str:
    """The name of a lane; ``audit`` for what no drain reads."""
    return "audit" if number == AUDIT else LANE_NAMES.get(number, str(number))


def view_of(view: type[V], row: Any, **more: Any) -> V:
    """A view from the columns of the same names, and whatever else it has."""
    return view.model_validate({field: row[field] for field in view.model_fields if field in row} | more)


def summary_fields(row: Any, standings: Sequence[readings_states.Standing]) -> dict[str, Any]:
    """The fields of an ``EventSummary`` that are not columns."""
    handlers = tuple(
        Standing(
            handler=s.consumer.name, group=s.consumer.group, state=s.state, reason=_reason(s),
            attempts=s.delivery["attempts"] if s.delivery is not None else 0,
        )
        for s in standings
    )  # fmt: skip
    return {"lane": lane_name(row["lane"]), "status": status_of(row, handlers), "handlers": handlers}


def event_summary(row: Any, standings: Sequence[readings_states.Standing]) -> EventSummary:
    """An event of the history."""
    return view_of(EventSummary, row, **summary_fields(row, standings))


def status_of(row: Any, handlers: Iterable[Standing]) -> EventStatus:
    """The state of the handler that needs attention most."""
    states = {standing.state for standing in handlers}
    for state in _WORST_FIRST:
        if state in states:
            return state
    return "audit" if row["lane"] == AUDIT else "unhandled"


def handler_delivery(
    standing: readings_states.Standing, attempts: Mapping[UUID, Sequence[Attempt]], successes: Sequence[Any]
) -> HandlerDelivery:
    """What one handler did with an event, from whichever rows tell of it."""
    consumer, row = standing.consumer, standing.delivery
    if row is None:
        success = next((s for s in successes if consumer.id in s["handler_ids"]), None)
        note = success["note"] if success else None
        return HandlerDelivery(
            handler=consumer.name, group=consumer.group, state=standing.state, job=consumer.job, note=note,
            reason="skipped" if note is not None else None,
            done_at=standing.marked_at or (success["finished_at"] if success else None),
            worker_id=success["worker_id"] if success else None,
        )  # fmt: skip
    return HandlerDelivery(
        handler=consumer.name, group=consumer.group, state=standing.state, job=consumer.job, reason=row["reason"],
        delivery_id=row["id"],
        note=row["note"], attempts=row["attempts"], redrives=row["redrives"], crashes=row["crashes"],
        error_type=row["error_type"], error_message=row["error_message"], fingerprint=row["fingerprint"],
        due_at=_due(row), done_at=row["changed_at"] if standing.state == "done" else None,
        history=tuple(attempts.get(row["id"], ())),
    )  # fmt: skip


def attempts_by_delivery(rows: Iterable[Any]) -> dict[UUID, list[Attempt]]:
    """Attempts, grouped."""
    grouped: dict[UUID, list[Attempt]] = {}
    for row in rows:
        grouped.setdefault(row["delivery_id"], []).append(view_of(Attempt, row))
    return grouped


def dead_letter(row: Any) -> DeadLetter:
    """A row of the list of dead letters."""
    return view_of(DeadLetter, row, group=row["group_name"], died_at=row["changed_at"])


def delivery_detail(row: Any, history: Sequence[Attempt]) -> DeliveryDetail:
    """One delivery, whole."""
    state = "running" if row["state"] == "waiting" and row["running"] else row["state"]
    return view_of(DeliveryDetail, row, group=row["group_name"], state=state, due_at=_due(row), history=history)


def handler_view(consumer: readings_states.Consumer, counts: Any) -> HandlerView:
    """A handler with its load."""
    status = "retired" if consumer.retired_at else "live" if consumer.processes else "missing"
    return HandlerView(
        id=consumer.id, name=consumer.name, group=consumer.group, selects=consumer.selects, ordered=consumer.ordered,
        on_dead=consumer.on_dead, status=status, processes=consumer.processes, waiting=counts["waiting"],
        waiting_reasons=tuple(sorted(counts["reasons"])), oldest_waiting=counts["oldest_waiting"], dead=counts["dead"],
        newest_dead=counts["newest_dead"], registered_at=consumer.registered_at, last_seen_at=consumer.last_seen_at,
        retired_at=consumer.retired_at, paused_at=consumer.paused_at, breaker_opened_at=consumer.breaker_opened_at,
        catching_up_since=consumer.catching_up_since, job=consumer.job,
    )  # fmt: skip


def _due(row: Any) -> Any:
    """When the delivery is tried next, if that is known: a dead head's key is due never, which is no date."""
    due = row["due_at"]
    return due if row["state"] == "waiting" and due is not None and due.year < 9000 else None


def _reason(standing: readings_states.Standing) -> str | None:
    if standing.delivery is None or standing.state not in ("waiting", "dead", "running"):
        return None
    reason: str = standing.delivery["reason"]
    return reason


assert set(_WORST_FIRST) == set(get_args(HandlerState)), "every state has its rank"  # noqa: S101
