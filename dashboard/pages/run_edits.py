"""Giving a run another input, with which it begins anew."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.observe.job_views import RunDetail
from fastapi_events.api.redaction import Shown
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, actor_of, operator_of
from fastapi_events.api.run_edits import edited_input
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.formats import pretty
from fastapi_events.dashboard.pages.actions import one_of, read_fields
from fastapi_events.dashboard.pages.run_actions import PLACES, replay_place
from fastapi_events.dashboard.pages.runs import missing
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidInput, RunConflict
from fastapi_events.model.secrets import place_in

EDITABLE = ("failed", "timed_out", "canceled")
"""The states in which a run takes another input."""


class RunEditPages:
    """``/dashboard/runs/{run_id}/edit``: the form, and what it does."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add both routes."""
        edit = guard.requires(Permission.edit)
        router.get("/runs/{run_id}/edit", dependencies=[edit])(self.form)
        router.post("/runs/{run_id}/edit", dependencies=[Depends(same_origin), edit])(self.edit)

    async def form(self, request: Request, run_id: UUID) -> Response:
        """The input, with its secrets hidden, to be changed."""
        run = await _run(request, run_id)
        shown = self._shown(run) if actor_of(request).may(Permission.view_payload) else Shown()
        text = "" if shown.value is None else pretty(shown.value)
        return await self._ask(request, run, text, hidden=shown.hidden)

    async def edit(self, request: Request, run_id: UUID) -> Response:
        """Act, and go back to the run; an input that the job does not take is said so, beside the form."""
        fields = await read_fields(request)
        text, reason, place = one_of(fields, "input"), check_reason(one_of(fields, "reason")), replay_place(fields)
        run, operator = await _run(request, run_id), operator_of(request)
        job = self._desk.port.registry.jobs.get(run.job)
        try:
            value = edited_input(run, text, job, self._desk.redactor)
            changed = await operator.operations.runs.edit_and_retry(
                run_id, value, from_=place, actor=operator.actor.id, reason=reason
            )
        except (InvalidInput, RunConflict) as error:
            status = 422 if isinstance(error, InvalidInput) else 409
            return await self._ask(request, run, text, problem=str(error), status=status, reason=reason, place=place)
        where = visit_of(request).path(f"runs/{run_id}", done="edit", changed=str(changed).lower())
        return Response(status_code=303, headers={"Location": where})

    def _shown(self, run: RunDetail) -> Shown:
        job = self._desk.port.registry.jobs.get(run.job)
        return self._desk.redactor.content(run.input, place_in(job.input_type) if job is not None else ())

    async def _ask(
        self, request: Request, run: RunDetail, text: str, *, hidden: int = 0, problem: str | None = None,
        status: int = 200, reason: str = "", place: str | None = None,
    ) -> Response:  # fmt: skip
        given: dict[str, Any] = {"text": text, "hidden": hidden, "problem": problem, "reason": reason, "place": place}
        return await self._desk.show(
            request, "run_edit.html", room="runs", status=status, run=run, places=PLACES, max_reason=MAX_REASON,
            visible=actor_of(request).may(Permission.view_payload), editable=run.state in EDITABLE,
            here=run.job in self._desk.port.registry.jobs, **given,
        )  # fmt: skip


async def _run(request: Request, run_id: UUID) -> RunDetail:
    found = await operator_of(request).observe.run(run_id)
    if found is None:
        raise missing(run_id)
    return found
