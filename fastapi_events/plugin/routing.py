"""The router that an application includes: routes, and the lifespan that starts and stops everything."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from fastapi_events.api.dependencies import check_routes
from fastapi_events.api.routes import api_router, health_router
from fastapi_events.plugin.checks import missing_extra

if TYPE_CHECKING:
    from fastapi_events.plugin.application import Events


def make_router(events: Events) -> APIRouter:
    """The router of an instance; including it in an app, at any prefix, is all that is needed."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncGenerator[None]:
        check_routes(app)
        async with events.lifespan(app):
            yield

    router = APIRouter(prefix=events.prefix, lifespan=lifespan, tags=list(events.tags or []) or None)
    router.include_router(health_router(events))
    router.include_router(api_router(events, include_in_schema=events.include_in_schema))
    if events.settings.dashboard:
        router.include_router(_dashboard(events))
    return router


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
