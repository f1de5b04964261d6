"""What a run has said, line by line."""

from __future__ import annotations

from typing import Annotated, get_args
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.observe.run_log import LogLevel
from fastapi_events.api.routes.guard import Guard, actor_of, operator_of
from fastapi_events.api.run_answers import RunLogAnswer, run_log_answer
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.runs import missing
from fastapi_events.dashboard.visit import visit_of

LEVELS: tuple[LogLevel, ...] = get_args(LogLevel)
_LINES = 200
Place = Annotated[int | None, Query(ge=0, le=2**63 - 1)]


class RunLogPages:
    """``/dashboard/runs/{run_id}/logs``."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the route."""
        router.get("/runs/{run_id}/logs", dependencies=[guard.requires(Permission.view)])(self.lines)

    async def lines(
        self, request: Request, run_id: UUID, before: Place = None, after: Place = None, level: LogLevel | None = None
    ) -> Response:
        """The last lines, those before one, or those behind one; of ``level`` and what is graver."""
        run = await operator_of(request).observe.chosen_runs([run_id])
        page = await operator_of(request).observe.run_logs(
            run_id, before=before, after=after, level=level, limit=_LINES
        )
        if page is None:
            raise missing(run_id)
        answer: RunLogAnswer = run_log_answer(page, self._desk.redactor, actor_of(request))
        return await self._desk.show(
            request, "run_logs.html", room="runs", run=run[0], log=answer, level=level, levels=LEVELS,
            newest=before is None and after is None,
            refresh=visit_of(request).path(f"runs/{run_id}/logs", level=level),
        )  # fmt: skip
