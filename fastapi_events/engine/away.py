"""An attempt that has been detached from its chain, and the delivery that stands for it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

from fastapi_events.engine.item import Item
from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.parked import KeyClaim


@dataclass(slots=True, eq=False)
class Away:
    """One attempt beside its lane; ``rows`` and ``claim`` are set when its deliveries are written down."""

    run: Run
    task: asyncio.Task[None] | None
    result: asyncio.Future[Outcome]
    token: int = field(default_factory=lambda: secrets.randbelow(1 << 61) + (1 << 32))
    rows: list[tuple[dict[str, Any], Item]] = field(default_factory=list[tuple[dict[str, Any], Item]])
    """The deliveries that stand for it under its key, with their events: a list's attempt may have several."""
    claim: KeyClaim | None = None
    watch: asyncio.Task[Outcome] | None = None
    is_share: bool = False
    """Whether it is another key of a list whose attempt is counted already."""

    def enter(self, handler: int, row: dict[str, Any], item: Item) -> bool:
        """Note a delivery that stands for it; whether it is the first."""
        self.rows.append(({"delivery_id": row["id"], "position": row["position"], "attempts": 0}, item))
        self.claim = KeyClaim(handler, row["slot"], self.token)
        return len(self.rows) == 1

    def share(self) -> Away:
        """The same attempt, for another key of its list."""
        return Away(self.run, self.task, self.result, watch=self.watch, is_share=True)

    def give_up(self) -> None:
        """End it: it can commit nothing any more."""
        self.run.abandon()
        if self.task is not None:
            self.task.cancel()
