"""The library's routes: health, and the JSON API for operators. The only part of ``api`` beside the dependencies
that knows FastAPI."""

from __future__ import annotations

from fastapi import APIRouter

from fastapi_events.api.operator_port import OperatorPort
from fastapi_events.api.routes.acting_routes import ActingRoutes
from fastapi_events.api.routes.erasing_routes import ErasingRoutes
from fastapi_events.api.routes.gating_routes import GatingRoutes
from fastapi_events.api.routes.guard import Guard
from fastapi_events.api.routes.health_routes import HealthRoutes
from fastapi_events.api.routes.job_routes import JobRoutes
from fastapi_events.api.routes.json_route import JsonRoute
from fastapi_events.api.routes.reading_routes import ReadingRoutes
from fastapi_events.api.routes.replay_routes import ReplayRoutes
from fastapi_events.api.routes.schedule_routes import ScheduleRoutes

__all__ = ["api_router", "health_router"]


def api_router(port: OperatorPort, *, include_in_schema: bool = False) -> APIRouter:
    """The JSON API under ``/api``, to be included under the library's prefix; every route is guarded.

    ``include_in_schema``: show it in the application's OpenAPI document.
    """
    router = APIRouter(
        prefix="/api", route_class=JsonRoute, include_in_schema=include_in_schema,
        generate_unique_id_function=lambda route: f"fastapi_events_{route.name}",
    )  # fmt: skip
    guard = Guard(port)
    ReadingRoutes().add_to(router, guard)
    ActingRoutes().add_to(router, guard)
    ErasingRoutes().add_to(router, guard)
    GatingRoutes().add_to(router, guard)
    ReplayRoutes().add_to(router, guard)
    JobRoutes(port).add_to(router, guard)
    ScheduleRoutes().add_to(router, guard)
    return router


def health_router(port: OperatorPort, *, include_in_schema: bool = False) -> APIRouter:
    """``/health`` and ``/health/ready``, to be included under the prefix; open to everybody."""
    router = APIRouter(route_class=JsonRoute, include_in_schema=include_in_schema)
    HealthRoutes(port).add_to(router)
    return router
