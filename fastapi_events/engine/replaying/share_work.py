"""One claimed share on its way: event after event, from the stored rows to what is left behind."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi_events.engine.delivery_rows import attempt_row, delivery_row, reason_of, tombstone_of
from fastapi_events.engine.failure import failure_of
from fastapi_events.engine.handlers import Handler, Taker
from fastapi_events.engine.item import Item
from fastapi_events.engine.item_list import as_given
from fastapi_events.engine.report import report
from fastapi_events.engine.run import Run
from fastapi_events.engine.suspicion import Suspect
from fastapi_events.model.erasure import ERASED_PAYLOAD
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.replay import replay_slot
from fastapi_events.store.replay_shares import Share, ShareResult

NO_LANE = -1
"""Attempts of replays are of no lane: they take no lane's part of connections and threads."""


class ShareWork:
    """What becomes of a share's events; ``result`` grows with each."""

    def __init__(self, share: Share, handler: Handler) -> None:
        self.share, self.result = share, ShareResult(share.position)
        self._handler, self._replay = handler, share.claim.replay
        self._taker = Taker(handler.number, handler.ordered, handler, None, handler.reads)
        self._parked: set[str] = set()
        self.suspects: list[Suspect] = []
        """Events over which processes may have vanished: each is run alone, instead of here."""

    def run_for(self, row: Any) -> Run | None:
        """The attempt at an event; None if none is made here: it waits, is in doubt, or has been erased."""
        item = Item(row, lane=NO_LANE, version=row["version"], xid=None)
        ordered = self._handler.ordered and item.key is not None
        needs = item.versions.oldest if item.version > self._handler.reads else 0
        needs = needs if needs > self._handler.reads else 0
        if row["payload"] == ERASED_PAYLOAD:
            self.result.skipped += 1
        elif self.share.doubtful:
            self._park(item, None, "crash_suspect", needs=needs)
            self.suspects.append((self._handler.number, item.name, item.id))
        elif ordered and (row["parked"] or item.key in self._parked):
            self._park(item, None, "key_blocked")
        elif needs:
            self._park(item, None, "no_handler", needs=needs)
        else:
            run = Run(self._handler, as_given(self._handler, item), redelivered=self.share.crashes > 0)
            run.replay = self._replay
            return run
        self.result.position = row["position"]
        return None

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Take note of what became of an attempt."""
        item, result = run.item, self.result
        result.position = item.position
        if outcome.kind in ("done", "duplicate"):
            if outcome.note is None:
                result.done += 1
            else:
                result.skipped += 1
            if run.mark is not None and outcome.kind == "done" and not outcome.committed:
                result.marks.append((run.mark, item.position, "d"))
            result.children.extend(outcome.children)
            return
        report(run, outcome)
        self._park(item, outcome, reason_of(outcome), tombstone_of(run, outcome))

    def finish(self) -> None:
        """Every event has had its turn."""
        self.result.position, self.result.finished = self.share.position_after, self.share.last

    def bury(self, run: Run, error: Exception) -> ShareResult:
        """What is recorded of an event that the database refuses to record otherwise: it is dead."""
        self.result = ShareResult(self.share.position)
        self.settle(run, Outcome("dead", reason="unsettleable", failure=failure_of(error)))
        return self.result

    def _park(
        self, item: Item, outcome: Outcome | None, reason: str, tombstone: UUID | None = None, *, needs: int = 0
    ) -> None:
        slot = replay_slot(self._replay, item.slot(ordered=self._handler.ordered))
        row = delivery_row(item, self._taker, slot, outcome, reason) | {"tombstone": tombstone, "needs": needs}
        self.result.failed += 1
        self.result.deliveries.append(row)
        if tombstone is not None:
            self.result.marks.append((tombstone, item.position, "x"))
        if outcome is not None:
            self.result.attempts.append(attempt_row(row["id"], 1, outcome))
        if row["holds"] and self._handler.ordered and item.key is not None:
            self._parked.add(item.key)
