"""What an attempt at a parked delivery comes to, as the statement that settles its key takes it."""

from __future__ import annotations

from typing import Any

from fastapi_events.engine.delivery_rows import attempt_row, reason_of, tombstone_of
from fastapi_events.engine.failure import fingerprint_of
from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.item import Item
from fastapi_events.engine.report import report
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.replay import LIVE
from fastapi_events.store.parked import KeyResult


def note(result: KeyResult, row: Any, run: Run, outcome: Outcome) -> bool:
    """Add an outcome to the key's result; False if the key's queue must stop here.

    ``row`` has the delivery's id, its position and the attempts made before.
    """
    report(run, outcome)
    kind = outcome.kind
    number = row["attempts"] + (1 if outcome.spent else 0)
    result.results.append(_result_row(row, run, outcome, number))
    result.attempts.append(attempt_row(row["delivery_id"], row["attempts"] + 1, outcome))
    if outcome.settled:
        if kind == "done" and run.mark is not None and not outcome.committed:
            result.marks.append((run.mark, run.item.position))
        result.children.extend(outcome.children)
        return True
    if kind == "dead" and not parks(run.handler, run.item):
        return True
    result.drained = False
    result.delay = None if kind == "dead" else outcome.delay
    return False


def parks(handler: Handler, item: Item) -> bool:
    """Whether a dead delivery of this event keeps what follows it waiting."""
    return handler.ordered and item.key is not None and handler.declaration.on_dead == "park"


def _result_row(row: Any, run: Run, outcome: Outcome, attempts: int) -> dict[str, object]:
    what = outcome.failure
    states = {"done": "done", "duplicate": "done", "dead": "dead", "discarded": "discarded"}
    return {
        "position": row["position"],
        "state": states.get(outcome.kind, "waiting"),
        "reason": reason_of(outcome),
        "note": outcome.note,
        "attempts": attempts,
        "postponed": 1 if outcome.kind in ("postponed", "interrupted") else 0,
        "error_type": what.error_type if what else None,
        "error_message": what.message if what else None,
        "fingerprint": fingerprint_of(what) if what else None,
        "holds": outcome.kind == "dead" and parks(run.handler, run.item),
        "tombstone": tombstone_of(run, outcome),
    }


def enter_replay(run: Run, result: KeyResult, row: Any) -> None:
    """Say whose the attempt is: a replay's has marks of its own."""
    if row["replay_id"] != LIVE:
        run.replay = result.replay = row["replay_id"]
        run.waiting_since = row["created_at"]


def tried_before(row: Any) -> bool:
    """Whether the event may have been handled before: also by an attempt that was not heard of again."""
    return bool(row["attempts"] > 0 or row["reason"] in ("detached", "crash_suspect"))
