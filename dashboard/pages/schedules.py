"""Schedules of jobs: when they tick, what came of it, and acting on them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.observe.job_schedules import ScheduleDetail
from fastapi_events.api.redaction import without_secrets
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.actions import one_of, read_fields
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter

ScheduleAct = Literal["pause", "resume", "run"]
Number = Annotated[int, Path(ge=1, lt=2**31)]


class JobSchedulePages:
    """``/dashboard/schedules``, one schedule, and the questions before it is changed: they are everybody's."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the routes; actions take requests from our own pages alone."""
        view = [guard.requires(Permission.view, fleet=True)]
        operate = guard.requires(Permission.operate, fleet=True)
        router.get("/schedules", dependencies=view)(self.listing)
        router.get("/schedules/{schedule_id}", dependencies=view)(self.detail)
        router.get("/schedules/{schedule_id}/confirm", dependencies=[operate])(self.confirm)
        router.post("/schedules/{schedule_id}/change", dependencies=[Depends(same_origin), operate])(self.change)

    async def listing(self, request: Request) -> Response:
        """Every schedule, by name, with what its last tick has started."""
        schedules = await operator_of(request).observe.schedules()
        return await self._desk.show(
            request, "schedules.html", room="schedules", schedules=schedules,
            refresh=visit_of(request).path("schedules"),
        )  # fmt: skip

    async def detail(
        self, request: Request, schedule_id: Number, done: ScheduleAct | None = None,
        changed: Annotated[bool, Query()] = False,
    ) -> Response:  # fmt: skip
        """One schedule with its ticks; ``done`` and ``changed`` tell what became of the action that led here."""
        schedule = without_secrets(await _schedule(request, schedule_id))
        return await self._desk.show(
            request, "schedule.html", room="schedules", schedule=schedule, done=done, changed=changed,
            refresh=visit_of(request).path(f"schedules/{schedule_id}"),
        )  # fmt: skip

    async def confirm(self, request: Request, schedule_id: Number, action: ScheduleAct) -> Response:
        """What will happen, and the question why."""
        schedule = await _schedule(request, schedule_id)
        return await self._desk.show(
            request, "confirm_schedule.html", room="schedules", schedule=schedule, action=action, max_reason=MAX_REASON
        )

    async def change(self, request: Request, schedule_id: Number) -> Response:
        """Act, and go to the schedule, or to the run that was started."""
        schedule = await _schedule(request, schedule_id)
        fields = await read_fields(request)
        action, reason = one_of(fields, "action"), check_reason(one_of(fields, "reason"))
        operator, visit = operator_of(request), visit_of(request)
        operations, actor = operator.operations, operator.actor.id
        if action == "run":
            run = await operations.run_schedule_now(schedule.name, actor=actor, reason=reason)
            return Response(status_code=303, headers={"Location": visit.path(f"runs/{run}")})
        acts = {"pause": operations.pause_schedule, "resume": operations.resume_schedule}
        if action not in acts:
            raise InvalidFilter("The form does not say what to do. Go back to the schedule and choose again.")
        changed = await acts[action](schedule.name, actor=actor, reason=reason)
        where = visit.path(f"schedules/{schedule_id}", done=action, changed=str(changed).lower())
        return Response(status_code=303, headers={"Location": where})


async def _schedule(request: Request, schedule_id: int) -> ScheduleDetail:
    found = await operator_of(request).observe.schedule(schedule_id)
    if found is None:
        raise HTTPException(404, f"This group has no schedule of the number {schedule_id}.")
    return found
