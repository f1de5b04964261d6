"""The dashboard's routes, each with the permission that it needs."""

from __future__ import annotations

from fastapi import APIRouter

from fastapi_events.api.operator_port import OperatorPort
from fastapi_events.api.routes.guard import Guard
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.html_route import HtmlRoute
from fastapi_events.dashboard.pages.actions import ActionPages
from fastapi_events.dashboard.pages.dead_letters import DeadLetterPages
from fastapi_events.dashboard.pages.erasure import ErasurePages
from fastapi_events.dashboard.pages.events import EventPages
from fastapi_events.dashboard.pages.fleet import FleetPages
from fastapi_events.dashboard.pages.gates import GatePages
from fastapi_events.dashboard.pages.jobs import JobPages
from fastapi_events.dashboard.pages.overview import OverviewPage
from fastapi_events.dashboard.pages.pools import PoolPages
from fastapi_events.dashboard.pages.replays import ReplayPages
from fastapi_events.dashboard.pages.run_actions import RunActionPages
from fastapi_events.dashboard.pages.run_edits import RunEditPages
from fastapi_events.dashboard.pages.run_logs import RunLogPages
from fastapi_events.dashboard.pages.runs import RunPages
from fastapi_events.dashboard.pages.scheduled import SchedulePages
from fastapi_events.dashboard.pages.schedules import JobSchedulePages
from fastapi_events.dashboard.paths import PREFIX
from fastapi_events.dashboard.static_files import static_file


def make_router(port: OperatorPort) -> APIRouter:
    """All routes under ``/dashboard``. Static files are open: they say nothing about the application."""
    router = APIRouter(prefix=PREFIX, route_class=HtmlRoute, include_in_schema=False)
    guard, desk = Guard(port), Desk(port)
    # Before the dead letters and the runs, whose detail pages take any last part.
    ActionPages(desk).add_to(router, guard)
    RunActionPages(desk).add_to(router, guard)
    OverviewPage(desk).add_to(router, guard)
    EventPages(desk).add_to(router, guard)
    ErasurePages(desk).add_to(router, guard)
    DeadLetterPages(desk).add_to(router, guard)
    RunPages(desk).add_to(router, guard)
    RunLogPages(desk).add_to(router, guard)
    RunEditPages(desk).add_to(router, guard)
    JobPages(desk).add_to(router, guard)
    PoolPages(desk).add_to(router, guard)
    JobSchedulePages(desk).add_to(router, guard)
    SchedulePages(desk).add_to(router, guard)
    ReplayPages(desk).add_to(router, guard)
    FleetPages(desk).add_to(router, guard)
    GatePages(desk).add_to(router, guard)
    router.get("/static/{version}/{name}", name="fastapi_events:static")(static_file)
    return router
