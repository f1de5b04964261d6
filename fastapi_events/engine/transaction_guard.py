"""Watching the transaction of a delivery: it ends when and how the library ends it, or the attempt fails."""

from __future__ import annotations

from typing import Any, NoReturn

from sqlalchemy import Connection, event

from fastapi_events.errors import HandlerSessionMisuse, TransactionAborted
from fastapi_events.model.context import current_delivery, set_delivery
from fastapi_events.store.savepoints import is_border


class TransactionGuard:
    """Follows one connection of SQLAlchemy by its documented events; nothing here costs a round trip.

    ``misused`` says that the transaction was ended by somebody else, so that nothing can commit any more. Tasks that a
    handler leaves behind carry its context: what they send meets ``HandlerSessionMisuse`` rather than the transaction
    of the next delivery.
    """

    def __init__(self, connection: Connection, driver: Any) -> None:
        self._watched, self._in_transaction = driver, _state_of(driver)
        self._owner: object | None = None
        self._begun = self._ours = self._refused = self.misused = False
        event.listen(connection, "begin", self._begin)
        event.listen(connection, "commit", self._commit)
        event.listen(connection, "rollback", self._roll_back)
        event.listen(connection, "before_cursor_execute", self._before_execute)

    def start(self, *, begun: bool = False) -> None:
        """A delivery begins, in the current context; ``begun``: SQLAlchemy has begun its transaction already."""
        self._owner = owner = object()
        set_delivery(owner)
        self._begun, self._ours, self._refused, self.misused = begun, False, False, False

    def release(self) -> None:
        """From now on it is the library that ends the transaction."""
        self._ours = True

    def stop(self) -> None:
        """The delivery is over: nobody may use the connection until the next one starts."""
        self._owner = None

    def check(self, session: Any) -> None:
        """Raise ``HandlerSessionMisuse`` if the transaction is not the open one any more.

        ``TransactionAborted`` if it was SQLAlchemy that rolled back, over a flush of the session that failed.
        """
        if self.misused and not self._refused and session is not None and not session.is_active:
            check_committed("ROLLBACK")
        if self.misused or not self._in_transaction():
            self._refuse("ended the transaction of its session")

    def _begin(self, _: Connection) -> None:
        if self._owner is None:
            refuse_late()
        if self._begun:
            self._refuse("went on after it had ended the transaction of its session")
        self._begun = True

    def _commit(self, connection: Connection) -> None:
        if not self._ours:
            # SQLAlchemy takes the transaction for finished now, and would give the connection back as it is.
            connection.connection.rollback()
            self._refuse("committed its HandlerSession by itself")

    def _roll_back(self, connection: Connection) -> None:  # noqa: ARG002 - the event gives it, and heirs use it
        if not self._ours:
            self.misused = True  # an error may pass here, and shall not be replaced by ours

    def _before_execute(
        self, _connection: Connection, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        caller = current_delivery()
        if self._owner is None or (caller is not None and caller is not self._owner):
            refuse_late()
        if is_border(statement):
            self._refuse("sent BEGIN, COMMIT or ROLLBACK through its session", ended=False)
        if not self._in_transaction():
            self._refuse("ended the transaction of its session")

    def _refuse(self, what: str, *, ended: bool = True) -> NoReturn:
        self.misused = self.misused or ended
        self._refused = self._refused or ended
        refuse(what)


def refuse(what: str) -> NoReturn:
    """Raise ``HandlerSessionMisuse``: a handler did something to the transaction that is not its own."""
    raise HandlerSessionMisuse(
        f"A handler, job or step {what}. The library commits it together with the handler's mark, or the result of the "
        "job or step, or rolls both back. Return to commit, raise to roll back, and use savepoints (begin_nested(), or "
        "savepoint() of a HandlerConnection) for parts."
    )


def refuse_late() -> NoReturn:
    """Raise ``HandlerSessionMisuse``: the connection serves another delivery."""
    raise HandlerSessionMisuse(
        "The connection of a HandlerSession was used after its handler had returned (or job, or step), when it serves "
        "another. Await what is started before returning."
    )


def check_committed(status: str) -> None:
    """Raise unless COMMIT was answered by COMMIT: a failed transaction is rolled back instead, without an error."""
    if status != "COMMIT":
        raise TransactionAborted(
            "The handler went on after a database error, so that its transaction could only be rolled back. Let the "
            "error out of the handler, or run statements that may fail inside session.begin_nested()."
        )


def _state_of(driver: Any) -> Any:
    """A call that says whether a driver's connection is in a transaction, as far as that is known without asking."""
    if hasattr(driver, "is_in_transaction"):  # asyncpg; the error of a lost connection comes from its next statement
        return lambda: driver.is_in_transaction() or driver.is_closed()
    if hasattr(getattr(driver, "info", None), "transaction_status"):  # psycopg; 0 is libpq's "idle"
        return lambda: driver.closed or driver.info.transaction_status != 0
    return lambda: True
