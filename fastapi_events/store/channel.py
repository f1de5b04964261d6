"""The NOTIFY channel of a schema: saying that something was committed, and checking that one still listens."""

from __future__ import annotations

from typing import Any

from fastapi_events.store.statements import Statements

NAME_LIMIT = 63
"""Bytes of a channel's name, a limit of PostgreSQL's identifiers."""


class Channel:
    """One channel per schema; what travels on it is a hint and never trusted."""

    def __init__(self, statements: Statements) -> None:
        self.name = f"fastapi_events_{statements.schema}"[:NAME_LIMIT]
        self._notify, self._check = statements["notify_lanes"], statements["check_listening"]

    async def notify(self, connection: Any, hint: str, *, timeout: float) -> None:
        """Send a hint."""
        await connection.execute(self._notify, self.name, hint, timeout=timeout)

    async def is_heard(self, connection: Any) -> bool:
        """Whether the connection still listens."""
        return bool(await connection.fetchval(self._check, self.name))
