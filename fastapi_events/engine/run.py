"""One attempt on its way, as everybody sees it who has to do with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi_events.engine.handlers import Handler
from fastapi_events.engine.item import Item
from fastapi_events.engine.slots import Slot
from fastapi_events.model.delivery import Delivery
from fastapi_events.model.outcome import Outcome
from fastapi_events.model.run_start import Sealed

if TYPE_CHECKING:
    from fastapi_events.engine.handler_connection import HandlerConnection
    from fastapi_events.engine.handler_transaction import SyncLine, Transaction


class Run:
    """One attempt. Whoever gives it up sets ``abandoned``: from then on it can commit nothing."""

    noun = "handler"
    misuse: tuple[type[Exception], ...] = ()
    """Errors that each attempt would meet again, whatever the retry policy says of them."""
    __slots__ = (
        "abandoned",
        "attempt",
        "began",
        "beginning",
        "children",
        "connection",
        "driver",
        "entered",
        "handler",
        "item",
        "mark",
        "on_start",
        "on_wait",
        "outcome",
        "probe",
        "redelivered",
        "replay",
        "session",
        "skipped",
        "slots",
        "transaction",
        "waiting_since",
    )

    def __init__(self, handler: Handler, item: Item, attempt: int = 1, *, redelivered: bool = False) -> None:
        self.handler, self.item, self.attempt, self.redelivered = handler, item, attempt, redelivered
        self.abandoned = False
        self.probe = False
        self.replay: UUID | None = None
        """The replay that delivers the event; None where it is delivered live."""
        self.waiting_since: datetime | None = None
        """When a replay's delivery came to wait; its event may be as old as the log."""
        self.transaction: Transaction | SyncLine | None = None
        self.session: Any = None
        self.driver: Any = None
        self.connection: HandlerConnection | None = None
        self.mark: UUID | None = None
        self.children: list[Sealed] = []
        self.skipped: str | None = None
        """Why there was nothing to do."""
        self.slots: list[Slot] = []
        self.began: float | None = None
        self.on_start: Callable[[], None] | None = None
        self.on_wait: Callable[[], None] | None = None
        self.beginning = False
        """Whether its transaction is being begun, which is not its handler's doing."""
        self.entered = False
        """Whether the middleware around the attempt has let it begin."""
        self.outcome: Outcome | None = None
        """What is recorded of the attempt, once that is certain: middleware, or its handler, may still be at work."""

    @property
    def age(self) -> float:
        """Seconds since the event could be handled first: since it was published, or for a replay, since it tried."""
        since = self.item.row["published_at"] if self.replay is None else self.waiting_since
        return (datetime.now(UTC) - since).total_seconds() if since is not None else 0.0

    def delivery(self, event: Any) -> Delivery:
        """What the handler may know about its delivery."""
        return self.item.delivery(self.handler, event, self.attempt, redelivered=self.redelivered, replay=self.replay)

    def start(self) -> None:
        """The attempt has what it waited for: its time begins."""
        if self.on_start is not None:
            self.on_start()

    def wait(self) -> None:
        """The attempt waits for something scarce, which is not its time."""
        if self.on_wait is not None:
            self.on_wait()

    def abandon(self) -> None:
        """Give the attempt up; its transaction, if it has one, is torn down so that nobody waits for it."""
        self.abandoned = True
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            transaction.cut()
        self.release()

    def caught(self, error: BaseException) -> None:
        """The attempt ended by this error; its outcome says what becomes of it. Heirs that want it take it here."""

    def release(self) -> None:
        """Make room for other attempts; idempotent."""
        while self.slots:
            self.slots.pop().release()
