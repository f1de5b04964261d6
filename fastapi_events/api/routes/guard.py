"""Who may come in: closed unless the user says who is allowed, or this is development."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from fastapi import Depends, HTTPException, Request

from fastapi_events.api.actor import DEVELOPER, Actor, Permission
from fastapi_events.api.operator import Operator
from fastapi_events.api.operator_port import OperatorPort

CLOSED = (
    "The operators' pages and API are closed. Pass authorize=... to Events(...): a FastAPI dependency that returns an "
    "Actor. Or set EVENTS_DEV=1 on your own machine, which opens them to everybody who can reach it."
)
STRANGE_HOST = (
    "In development the operators' pages open for addresses and local names only (localhost, *.test, *.local, "
    "*.internal), and this request is for {host}. Use one of those, or pass authorize=... to Events(...)."
)
FLEET = "This is about the fleet, which is no tenant's: it is for actors of all tenants (Actor(..., tenants=None))."
_OPERATOR = "fastapi_events_operator"


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
        self._port, self._identify = port, _identification(port)

    def requires(self, permission: Permission, *, fleet: bool = False) -> Any:
        """A dependency for a route that only actors with this permission may use.

        ``fleet``: what it shows is everybody's, so that actors of some tenants may not see it.
        """

        async def check(request: Request, actor: Any = Depends(self._identify)) -> None:
            if not isinstance(actor, Actor):
                raise HTTPException(403, f"authorize returned {type(actor).__name__}, not an Actor: nobody is let in.")
            if not actor.may(permission):
                raise Refused(actor, permission)
            operator = Operator(self._port, actor)
            if operator.refused:
                raise HTTPException(403, operator.refused)
            if fleet and operator.of_some_tenants:
                raise HTTPException(403, FLEET)
            setattr(request.state, _OPERATOR, operator)

        return Depends(check)


def operator_of(request: Request) -> Operator:
    """What the actor whom the guard has let in to this request may read and do."""
    operator: Operator = getattr(request.state, _OPERATOR)
    return operator


def actor_of(request: Request) -> Actor:
    """The actor whom the guard has let in to this request."""
    return operator_of(request).actor


def known_operator(request: Request) -> Operator | None:
    """The same where the guard may have refused."""
    return getattr(request.state, _OPERATOR, None)


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
