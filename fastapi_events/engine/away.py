"""An attempt that has been detached from its chain, and the delivery that stands for it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Any

from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.parked import KeyClaim


@dataclass(slots=True, eq=False)
class Away:
    """One attempt beside its lane; ``row`` and ``claim`` are set when its delivery is written down."""

    run: Run
    task: asyncio.Task[None] | None
    result: asyncio.Future[Outcome]
    token: int = field(default_factory=lambda: secrets.randbelow(1 << 61) + (1 << 32))
    row: dict[str, Any] | None = None
    claim: KeyClaim | None = None
    watch: asyncio.Task[Outcome] | None = None

    def enter(self, handler: int, row: dict[str, Any]) -> None:
        """Note the delivery that stands for it."""
        self.row = {"delivery_id": row["id"], "position": row["position"], "attempts": 0}
        self.claim = KeyClaim(handler, row["slot"], self.token)

    def give_up(self) -> None:
        """End it: it can commit nothing any more."""
        self.run.abandon()
        if self.task is not None:
            self.task.cancel()
