"""The first page: what needs attention, and how everything is going."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.gating import GateAct
from fastapi_events.api.observe.job_readings import JOB_COUNT_LIMIT
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.dashboard.charts import HEIGHT, WIDTH, bar_chart
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.visit import visit_of


class OverviewPage:
    """``/dashboard``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the route, with and without a closing slash: a redirect between them might lead out of https."""
        view = [guard.requires(Permission.view)]
        router.get("", dependencies=view, name="fastapi_events:dashboard")(self.show)
        router.get("/", dependencies=view)(self.show)

    async def show(self, request: Request, done: GateAct | None = None, changed: bool = False) -> Response:
        """Concerns, figures, lanes, consumers, processes; ``done`` and ``changed`` tell of the action that led here."""
        overview = await operator_of(request).observe.overview()
        return await self._desk.show(
            request, "overview.html", room="overview", overview=overview, dead=overview.dead + overview.dead_runs,
            most=JOB_COUNT_LIMIT,
            chart=bar_chart(overview.published_per_minute), size=(WIDTH, HEIGHT), refresh=visit_of(request).path(),
            done=done, changed=changed,
        )  # fmt: skip
