"""The JSON API's schedules of jobs: listed, shown, paused, resumed, run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Path, Request
from pydantic import Field

from fastapi_events.api.actor import Permission
from fastapi_events.api.body import Body
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.observe.job_schedules import ScheduleDetail, ScheduleView
from fastapi_events.api.observe.view import View
from fastapi_events.api.redaction import without_secrets
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of

Number = Annotated[int, Path(ge=1, lt=2**31)]


class ScheduleChange(Body):
    """A schedule by its name, and why something is done with it."""

    schedule: Annotated[str, Field(min_length=1, max_length=500)]
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


class ScheduleAnswer(View):
    """Whether that changed anything."""

    changed: bool


class RunNowAnswer(View):
    """The run that was started."""

    run: UUID


class ScheduleRoutes:
    """``/schedules``: reading needs ``view``, acting ``operate``; they are everybody's."""

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add every route with the permission that it needs."""
        view = [guard.requires(Permission.view, fleet=True)]
        operate = [Depends(same_origin), guard.requires(Permission.operate, fleet=True)]
        router.get("/schedules", dependencies=view)(self.schedules)
        router.get("/schedules/{schedule_id}", dependencies=view)(self.schedule)
        router.post("/schedules/pause", dependencies=operate)(self.pause_schedule)
        router.post("/schedules/resume", dependencies=operate)(self.resume_schedule)
        router.post("/schedules/run", dependencies=operate)(self.run_schedule)

    async def schedules(self, request: Request) -> Sequence[ScheduleView]:
        """Every schedule, by name."""
        return await operator_of(request).observe.schedules()

    async def schedule(self, request: Request, schedule_id: Number) -> ScheduleDetail:
        """One schedule with its recent ticks, and when the next ones are due."""
        found = await operator_of(request).observe.schedule(schedule_id)
        if found is None:
            raise HTTPException(404, f"This group has no schedule of the number {schedule_id}.")
        return without_secrets(found)

    async def pause_schedule(self, request: Request, body: ScheduleChange) -> ScheduleAnswer:
        """Let a schedule tick no more until it is resumed."""
        operator, reason = operator_of(request), check_reason(body.reason)
        changed = await operator.operations.pause_schedule(body.schedule, actor=operator.actor.id, reason=reason)
        return ScheduleAnswer(changed=changed)

    async def resume_schedule(self, request: Request, body: ScheduleChange) -> ScheduleAnswer:
        """Let a paused schedule go on with its next tick from now."""
        operator, reason = operator_of(request), check_reason(body.reason)
        changed = await operator.operations.resume_schedule(body.schedule, actor=operator.actor.id, reason=reason)
        return ScheduleAnswer(changed=changed)

    async def run_schedule(self, request: Request, body: ScheduleChange) -> RunNowAnswer:
        """Start one run with the schedule's input, and leave its ticks as they are."""
        operator, reason = operator_of(request), check_reason(body.reason)
        run = await operator.operations.run_schedule_now(body.schedule, actor=operator.actor.id, reason=reason)
        return RunNowAnswer(run=run)
