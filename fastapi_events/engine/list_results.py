"""What the end of a detached attempt is to its events: of a list success of all, or a try of each by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi_events.engine.away import Away
from fastapi_events.engine.failure import failure
from fastapi_events.engine.item_list import ItemList
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome


def shares_of(away: Away, outcome: Outcome) -> Iterator[tuple[dict[str, Any], Run, Outcome]]:
    """The deliveries of one key with what became of each; of a list that failed they are due at once, at no attempt."""
    run, whole = away.run, away.run.item
    if not isinstance(whole, ItemList) or not whole.many:
        yield away.rows[0][0], run, outcome
        return
    if outcome.kind not in ("done", "duplicate") and (outcome.kind != "dead" or outcome.reason != "unsettleable"):
        cause = outcome.failure.error_type if outcome.failure is not None else outcome.kind
        what = f"the list of {len(whole.all_items)} events that it came in has failed ({cause}); it is tried by itself"
        outcome = Outcome("interrupted", failure=failure("ListFailed", what), duration=outcome.duration)
    marks = {position: key for key, position in whole.known_marks}
    for row, item in away.rows:
        each = Run(run.handler, ItemList([item]), run.attempt, redelivered=run.redelivered)
        each.mark = marks.get(item.position) if run.mark is not None else None
        yield row, each, outcome
