"""Who may come in: closed unless the user says who is allowed, or this is development."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from fastapi import Depends, HTTPException, Request

from fastapi_events.api.actor import DEVELOPER, Actor, Permission
from fastapi_events.api.operator_port import OperatorPort

CLOSED = (
    "The operators' pages and API are closed. Pass authorize=... to Events(...): a FastAPI dependency that returns an "
    "Actor. Or set EVENTS_DEV=1 on your own machine, which opens them to everybody who can reach it."
)
STRANGE_HOST = (
    "In development the operators' pages open for addresses and local names only (localhost, *.test, *.local, "
    "*.internal), and this request is for {host}. Use one of those, or pass authorize=... to Events(...)."
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

    async def developer_or_nobody(request: Request) -> Actor:
        if not port.settings.development:
            raise Closed
        host = request.url.hostname or ""
        if not is_local_name(host):
            raise HTTPException(403, STRANGE_HOST.format(host=ascii(host)[:80]))
        return DEVELOPER

    identify: Callable[[Request], Awaitable[Actor]] = developer_or_nobody
    return identify


def is_local_name(host: str) -> bool:
    """Whether no stranger can own this name: an address, a name without a dot, or one below a reserved domain.

    In development nobody is asked who they are, so a page of a stranger must not reach the pages by having its own
    name resolve to this machine. Reserved: RFC 2606 and RFC 6761, ``local`` by RFC 6762, ``internal`` by ICANN.
    """
    with suppress(ValueError):
        ip_address(host)
        return True
    parts = host.lower().rstrip(".").split(".")
    return len(parts) == 1 or parts[-1] in {"localhost", "test", "local", "internal"}
