"""Actions on runs as operators ask for them: chosen ones, or all that match a filter as it was looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from fastapi_events.api.dead_letter_actions import MAX_IDS, check_reason
from fastapi_events.api.observe.filters import about
from fastapi_events.api.observe.job_readings import MOST_MATCHING
from fastapi_events.api.observe.run_search import RunAct
from fastapi_events.api.operator import Operator
from fastapi_events.api.run_operations import RunsChanged
from fastapi_events.errors import OperationRefused


@dataclass(frozen=True, slots=True)
class RunsMatching:
    """All that match a filter, as they were at ``cut_off``, of which ``expected`` had been counted."""

    where: str
    cut_off: datetime
    expected: int


RunSelection = Sequence[UUID] | RunsMatching


async def act_on_runs(operator: Operator, act: RunAct, selection: RunSelection, *, reason: str) -> RunsChanged:
    """Cancel, retry or discard; raises ``OperationRefused`` if more match than were confirmed."""
    reason = check_reason(reason, needed=act == "discard")
    ids = await _matching(operator, act, selection) if isinstance(selection, RunsMatching) else checked_runs(selection)
    runs, actor = operator.operations.runs, operator.actor.id
    if not ids:
        return RunsChanged(0, 0)
    if act == "cancel":
        return await runs.cancel(ids, actor=actor, reason=reason)
    if act == "retry":
        return await runs.retry(ids, actor=actor, reason=reason)
    return await runs.discard(ids, actor=actor, reason=reason)


def checked_runs(ids: Sequence[UUID]) -> Sequence[UUID]:
    """The runs that were chosen, each once; raises ``InvalidFilter`` for none, and for too many."""
    if not 1 <= len(ids) <= MAX_IDS:
        raise about("ids", f"{len(ids)} runs are chosen; choose 1 to {MAX_IDS:,}.")
    return list(dict.fromkeys(ids))


async def _matching(operator: Operator, act: RunAct, selection: RunsMatching) -> Sequence[UUID]:
    """What matches still. A count that was stopped at its bound is a bound itself."""
    if selection.expected < 1:
        raise about("expected", "expected is how many runs were counted, at least 1.")
    limit = min(selection.expected, MOST_MATCHING)
    found = await operator.observe.matching_runs(act, selection.where, cut_off=selection.cut_off, limit=limit)
    if found.capped and selection.expected < MOST_MATCHING:
        raise OperationRefused(
            f"More than {selection.expected:,} runs match now, and {selection.expected:,} were confirmed. Nothing was "
            "changed: look again."
        )
    return found.ids
