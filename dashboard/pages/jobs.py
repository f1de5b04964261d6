"""Jobs with their load, the pools that run them, and pausing a job."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.observe.job_readings import JOB_COUNT_LIMIT
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.actions import one_of, read_fields
from fastapi_events.dashboard.pages.pools import PoolAct
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter, OperationRefused

JobAct = Literal["pause", "resume"]
Name = Annotated[str, Query(min_length=1, max_length=500)]


class JobPages:
    """``/dashboard/jobs``, and the question before a job is paused or let go on."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the routes; what is changed holds for everybody's runs."""
        operate = guard.requires(Permission.operate, fleet=True)
        acting = [Depends(same_origin), operate]
        router.get("/jobs", dependencies=[guard.requires(Permission.view)])(self.listing)
        router.get("/jobs/confirm", dependencies=[operate])(self.confirm)
        router.post("/jobs/pause", dependencies=acting)(self.pause)
        router.post("/jobs/resume", dependencies=acting)(self.resume)

    async def listing(self, request: Request, done: JobAct | PoolAct | None = None, changed: bool = False) -> Response:
        """Pools and jobs; ``done`` and ``changed`` tell what became of the action that led here."""
        observe = operator_of(request).observe
        jobs, pools = await observe.jobs(), await observe.pools(reserved=True)
        return await self._desk.show(
            request, "jobs.html", room="jobs", jobs=jobs, pools=sorted(pools, key=lambda pool: pool.reserved),
            most=JOB_COUNT_LIMIT, done=done,
            changed=changed, refresh=visit_of(request).path("jobs"),
        )  # fmt: skip

    async def confirm(self, request: Request, action: JobAct, job: Name) -> Response:
        """What will happen, and the question why."""
        if job not in {view.name for view in await operator_of(request).observe.jobs()}:
            raise OperationRefused(f"This group has no job {ascii(job)[:80]}. Nothing was asked or changed.")
        return await self._desk.show(
            request, "confirm_job.html", room="jobs", action=action, job=job, max_reason=MAX_REASON
        )

    async def pause(self, request: Request) -> Response:
        """Act, and go back to the jobs with what became of it."""
        return await self._change(request, "pause")

    async def resume(self, request: Request) -> Response:
        """Act, and go back to the jobs with what became of it."""
        return await self._change(request, "resume")

    async def _change(self, request: Request, act: JobAct) -> Response:
        fields = await read_fields(request)
        name, reason = one_of(fields, "job"), check_reason(one_of(fields, "reason"))
        if not name:
            raise InvalidFilter("The form does not say which job. Go back to the list and choose again.")
        operator = operator_of(request)
        change = operator.operations.pause_job if act == "pause" else operator.operations.resume_job
        changed = await change(name, actor=operator.actor.id, reason=reason)
        where = visit_of(request).path("jobs", done=act, changed=str(changed).lower())
        return Response(status_code=303, headers={"Location": where})
