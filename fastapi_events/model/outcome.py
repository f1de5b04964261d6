"""What became of an attempt: a value first, a row later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fastapi_events.model.delivery import DeadReason
from fastapi_events.model.run_start import Sealed

OutcomeKind = Literal["done", "duplicate", "retry", "postponed", "interrupted", "dead", "discarded", "suspended"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An error made safe to store: bounded, without NUL, surrogates or terminal escapes."""

    error_type: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt of one handler on one event, or of one job.

    ``done``: handled. ``duplicate``: a mark says it had been handled before. ``retry``: failed, ``delay`` seconds
    until the next attempt. ``postponed``: the handler asked for later, no attempt spent. ``interrupted``: the
    infrastructure failed or the process stops, no attempt spent. ``suspended``: a job waits in the
    middle of it. ``dead`` with its ``reason``; ``discarded``
    with a ``note``, and a ``reason`` unless a handler asked for it. ``committed`` says that effects and mark are in
    the database already; ``children`` are the events to append in the transaction that records the success.
    """

    kind: OutcomeKind
    delay: float = 0.0
    reason: DeadReason | None = None
    note: str | None = None
    failure: Failure | None = None
    duration: float = 0.0
    committed: bool = False
    children: tuple[Sealed, ...] = field(default=())

    @property
    def settled(self) -> bool:
        """Whether the handler needs this event no more: the next event of the key may start."""
        return self.kind in ("done", "duplicate", "discarded")

    @property
    def spent(self) -> bool:
        """Whether the attempt counts against the retry budget."""
        return self.kind in ("retry", "dead", "done", "discarded")


DONE = Outcome("done")
