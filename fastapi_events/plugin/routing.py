"""The router that an application includes: routes, and the lifespan that starts and stops everything."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from starlette.applications import Starlette

from fastapi_events.api.dependencies import check_routes
from fastapi_events.api.routes import api_router, health_router
from fastapi_events.errors import DeclarationError
from fastapi_events.plugin.checks import missing_extra
from fastapi_events.plugin.siblings import has_router, with_router

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events


def make_router(events: Events) -> APIRouter:
    """The router of an instance; including it in an app, at any prefix, is all that is needed."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[None]:
        async with events.lifespan(app):
            yield

    router = APIRouter(prefix=events.prefix, lifespan=lifespan, tags=list(events.tags or []) or None)
    router.include_router(health_router(events))
    router.include_router(api_router(events, include_in_schema=events.include_in_schema))
    if events.settings.dashboard:
        router.include_router(_dashboard(events))
    has_router(events)
    return router


def check_app(app: Any) -> None:
    """Raise ``DeclarationError`` for routes of an application that can never work; other frameworks' are let be."""
    if isinstance(app, Starlette):
        check_routes(app)
        _check_prefixes(app)


def _check_prefixes(app: Any) -> None:
    """Raise ``DeclarationError`` if two instances have their routes at the same place in an app."""
    firsts = {id(next(iter_route_contexts(events.router.routes)).original_route) for events in with_router()}
    seen: dict[str, Any] = {}
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if id(route) in firsts and seen.setdefault(str(context.path), route) is not route:
            raise DeclarationError(
                f"Two Events objects of this app answer at {context.path}, and only the first one is heard. Give one "
                "of them another prefix, Events(prefix='/shop-events'), or make one Events object of both: "
                "Events(modules=[...])."
            )


def _dashboard(events: Events) -> APIRouter:
    from fastapi_events.dashboard import dashboard_router

    try:
        return dashboard_router(events)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fastapi_events"):
            raise
        raise missing_extra(
            error, what="The dashboard", extra="dashboard", otherwise="EVENTS_DASHBOARD=false to go without it"
        ) from error
