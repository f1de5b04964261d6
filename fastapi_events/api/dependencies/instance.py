"""Which ``Events`` object serves a request."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast

from fastapi.requests import HTTPConnection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fastapi_events.api.publishing.port import PublishingPort
from fastapi_events.engine import running


class Instance(Protocol):
    """What the dependencies need of an ``Events`` object."""

    @property
    def publishing(self) -> PublishingPort:
        """Its publishing side."""
        ...

    def session(self) -> AbstractAsyncContextManager[AsyncSession]:
        """A new session."""
        ...

    def sync_session(self) -> Session:
        """A new plain session."""
        ...


def instance_of(connection: HTTPConnection) -> Instance:
    """The instance of the request's app, failing that the only one started in this process.

    Raises ``NotStarted`` with the mend.
    """
    state = getattr(connection.scope.get("app"), "state", None)
    found = getattr(state, "fastapi_events", None)
    return cast("Instance", running.current() if found is None else found)
