"""One request for a page: who asks, from where, and in which form the answer is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from fastapi_events.api.actor import Actor, Permission
from fastapi_events.api.routes.guard import known_operator
from fastapi_events.dashboard.htmx import Htmx
from fastapi_events.dashboard.paths import with_query
from fastapi_events.dashboard.static_files import STATIC_VERSION

_STATE = "fastapi_events_visit"


@dataclass(frozen=True, slots=True)
class Visit:
    """What rendering needs to know of a request; ``base`` is the path of the dashboard's first page."""

    base: str
    htmx: Htmx
    request: Request

    @property
    def actor(self) -> Actor | None:
        """The actor, once the guard has let them in."""
        operator = known_operator(self.request)
        return operator.actor if operator else None

    @property
    def sees_fleet(self) -> bool:
        """Whether the pages about lanes and processes are shown, which are no tenant's."""
        operator = known_operator(self.request)
        return operator is not None and not operator.of_some_tenants

    @property
    def may_operate(self) -> bool:
        """Whether buttons that change something are shown."""
        return self.actor is not None and self.actor.may(Permission.operate)

    @property
    def may_steer(self) -> bool:
        """Whether buttons are shown that hold for everybody's events, such as a pause."""
        return self.may_operate and self.sees_fleet

    @property
    def may_edit(self) -> bool:
        """Whether the button is shown that gives a run another input."""
        return self.actor is not None and self.actor.may(Permission.edit)

    @property
    def may_erase(self) -> bool:
        """Whether the button that erases is shown."""
        return self.actor is not None and self.actor.may(Permission.admin)

    def path(self, room: str = "", **parameters: Any) -> str:
        """The path of a page."""
        return with_query(f"{self.base}/{room}" if room else self.base or "/", **parameters)

    def static(self, name: str) -> str:
        """The path of a static file, which changes with the files' content."""
        return f"{self.base}/static/{STATIC_VERSION}/{name}"


def begin_visit(request: Request, base: str) -> Visit:
    """Note where the request is, for the guard's refusals and the page alike."""
    visit = Visit(base, Htmx.of(request.headers), request)
    setattr(request.state, _STATE, visit)
    return visit


def visit_of(request: Request) -> Visit:
    """The visit that the route began."""
    visit: Visit = getattr(request.state, _STATE)
    return visit
