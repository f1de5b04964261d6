"""Deliveries and attempts as the statements that settle take them."""

from __future__ import annotations

from uuid import UUID

from fastapi_events.engine.failure import fingerprint_of
from fastapi_events.engine.handlers import Taker
from fastapi_events.engine.item import Item
from fastapi_events.engine.run import Run
from fastapi_events.model.identity import new_id
from fastapi_events.model.outcome import Outcome


def delivery_row(item: Item, taker: Taker, slot: str, outcome: Outcome | None, reason: str) -> dict[str, object]:
    """A new delivery as the settle statement takes it."""
    dead = outcome is not None and outcome.kind in ("dead", "discarded")
    what = outcome.failure if outcome else None
    state = "waiting" if not dead or outcome is None else "dead" if outcome.kind == "dead" else "discarded"
    parks = taker.handler is not None and taker.handler.declaration.on_dead == "park"
    return {
        "id": str(new_id()),
        "handler_id": taker.number,
        "position": item.position,
        "partition": item.partition,
        "slot": slot,
        "event_id": item.id,
        "event_name": item.name,
        "tenant_id": item.row["tenant_id"],
        "state": state,
        "reason": reason,
        "note": outcome.note if outcome else None,
        "attempts": 1 if outcome is not None and outcome.spent else 0,
        "postponed": 1 if outcome is not None and outcome.kind in ("postponed", "interrupted") else 0,
        "error_type": what.error_type if what else None,
        "error_message": what.message if what else None,
        "fingerprint": fingerprint_of(what) if what else None,
        "published_at": item.row["published_at"],
        "delay": outcome.delay if outcome else 0.0,
        "holds": state == "waiting" or (state == "dead" and taker.ordered and item.key is not None and parks),
    }


def tombstone_of(run: Run, outcome: Outcome) -> UUID | None:
    """The key of the mark that an end without effects leaves: no attempt that was given up, and no worker that has lost
    its lease, can still commit any."""
    ended = outcome.kind in ("dead", "discarded")
    return (run.mark or run.item.id) if ended and run.handler.transactional else None


def attempt_row(delivery_id: object, number: int, outcome: Outcome) -> dict[str, object]:
    """An attempt as the settle statements take it."""
    what = outcome.failure
    return {
        "delivery_id": delivery_id,
        "number": number,
        "outcome": outcome.kind,
        "error_type": what.error_type if what else None,
        "error_message": what.message if what else outcome.note,
        "traceback": what.traceback if what else None,
        "duration": outcome.duration,
    }


def reason_of(outcome: Outcome) -> str:
    """Why a delivery is where it is, from the closed set."""
    if outcome.kind == "dead":
        return outcome.reason or "gave_up"
    if outcome.kind == "done" and outcome.note is not None:
        return "skipped"
    return outcome.reason or "rejected_by_handler" if outcome.kind == "discarded" else "retry"
