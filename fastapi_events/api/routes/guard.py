"""Who may come in: closed unless the user says who is allowed, or this is development."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Depends, HTTPException, Request

from fastapi_events.api.actor import DEVELOPER, Actor, Permission
from fastapi_events.api.operator_port import OperatorPort

CLOSED = (
    "The operators' pages and API are closed. Pass authorize=... to Events(...): a FastAPI dependency that returns an "
    "Actor. Or set EVENTS_DEV=1 on your own machine, which opens them to everybody who can reach it."
)
_ACTOR = "fastapi_events_actor"


class Closed(HTTPException):
    """Nobody has been given access yet."""

    def __init__(self) -> None:
        super().__init__(403, CLOSED)


class Refused(HTTPException):
    """This actor lacks a permission."""

    def __init__(self, actor: Actor, permission: Permission) -> None:
        super().__init__(403, f"{actor.name or actor.id} lacks the permission {permission.value!r}.")
        self.permission = permission


class Guard:
    """Makes the dependencies that protect routes, one per permission."""

    def __init__(self, port: OperatorPort) -> None:
        self._identify = _identification(port)

    def requires(self, permission: Permission) -> Any:
        """A dependency for a route that only actors with this permission may use."""

        async def check(request: Request, actor: Any = Depends(self._identify)) -> None:
            if not isinstance(actor, Actor):
                raise HTTPException(403, f"authorize returned {type(actor).__name__}, not an Actor: nobody is let in.")
            if not actor.may(permission):
                raise Refused(actor, permission)
            setattr(request.state, _ACTOR, actor)

        return Depends(check)


def actor_of(request: Request) -> Actor:
    """The actor whom the guard has let in to this request."""
    actor: Actor = getattr(request.state, _ACTOR)
    return actor


def known_actor(request: Request) -> Actor | None:
    """The same where the guard may have refused."""
    return getattr(request.state, _ACTOR, None)


def _identification(port: OperatorPort) -> Callable[..., Any]:
    if port.authorize is not None:
        return port.authorize

    async def developer_or_nobody() -> Actor:
        if not port.settings.development:
            raise Closed
        return DEVELOPER

    identify: Callable[[], Awaitable[Actor]] = developer_or_nobody
    return identify
