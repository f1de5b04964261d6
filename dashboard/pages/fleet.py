"""Who handles what, which processes run, and what operators did."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.gating import GateAct
from fastapi_events.api.routes.answers import actions_answer
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.api.routes.reading_routes import Cursor
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.visit import visit_of


class FleetPages:
    """``/dashboard/consumers``, ``/workers`` and ``/audit``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the routes; what operators did is for operators."""
        view = [guard.requires(Permission.view)]
        router.get("/consumers", dependencies=view)(self.consumers)
        router.get("/workers", dependencies=[guard.requires(Permission.view, fleet=True)])(self.workers)
        router.get("/audit", dependencies=[guard.requires(Permission.operate)])(self.audit)

    async def consumers(self, request: Request, done: GateAct | None = None, changed: bool = False) -> Response:
        """Every handler, those in trouble first, and the broadcast handlers of live processes.

        ``done`` and ``changed`` tell what became of the action that led here.
        """
        observe = operator_of(request).observe
        handlers, broadcasts = await observe.handlers(), await observe.broadcasts()
        refresh = visit_of(request).path("consumers")
        return await self._desk.show(
            request, "consumers.html", room="consumers", handlers=handlers, broadcasts=broadcasts, refresh=refresh,
            done=done, changed=changed,
        )  # fmt: skip

    async def workers(self, request: Request) -> Response:
        """The processes, those alive first."""
        workers = await operator_of(request).observe.workers()
        refresh = visit_of(request).path("workers")
        return await self._desk.show(request, "workers.html", room="workers", workers=workers, refresh=refresh)

    async def audit(self, request: Request, cursor: Cursor = None) -> Response:
        """What operators did, newest first."""
        page = actions_answer(await operator_of(request).observe.actions(cursor=cursor), self._desk.redactor)
        refresh = visit_of(request).path("audit", cursor=cursor)
        return await self._desk.show(
            request, "audit.html", room="audit", page=page, first=cursor is None, refresh=refresh
        )
