"""Cancelling, retrying, replaying and discarding runs: a page (or dialog) that asks, then the act itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, cast, get_args
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.observe.run_filters import parse_run_filter
from fastapi_events.api.observe.run_search import RunAct
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.api.routes.reading_routes import Filter
from fastapi_events.api.run_actions import RunSelection, RunsMatching, act_on_runs, checked_runs
from fastapi_events.api.run_operations import RunsChanged
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.actions import Ids, one_of, read_fields
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter
from fastapi_events.model.job import ReplayFrom

Verb = Literal["cancel", "retry", "replay", "discard"]
Back = Literal["runs", "run", "dead-letters"]
PLACES: tuple[ReplayFrom, ...] = get_args(ReplayFrom)


@dataclass(frozen=True, slots=True)
class RunForm:
    """A posted form: which runs, why, and where to go back to."""

    fields: Mapping[str, Sequence[str]]
    selection: RunSelection
    filter: str
    reason: str
    back: Back


class RunActionPages:
    """``/dashboard/runs/confirm`` and the four actions."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the routes; those that change something take requests from our own pages alone."""
        operate = guard.requires(Permission.operate)
        acting = [Depends(same_origin), operate]
        router.get("/runs/confirm", dependencies=[operate])(self.confirm)
        router.post("/runs/cancel", dependencies=acting)(self.cancel)
        router.post("/runs/retry", dependencies=acting)(self.retry)
        router.post("/runs/discard", dependencies=acting)(self.discard)
        router.post("/runs/replay", dependencies=acting)(self.replay)

    async def confirm(
        self, request: Request, action: Verb, ids: Ids, where: Filter = "",
        everything: Annotated[bool, Query(alias="all")] = False, back: Back = "runs",
    ) -> Response:  # fmt: skip
        """What will happen to how many, and the question why."""
        values: dict[str, Any] = {"action": action, "filter": where, "ids": (), "cut_off": None, "capped": False}
        if everything and action != "replay":
            values |= await _counted(request, action, where)
        elif ids and not everything:
            runs = await operator_of(request).observe.chosen_runs(checked_runs(ids))
            values |= {"ids": [run.id for run in runs], "number": len(runs), "job": _one_job(run.job for run in runs)}
        else:
            raise InvalidFilter("Nothing is selected. Tick the runs to act on, then try again.")
        return await self._desk.show(
            request, "confirm_runs.html", room="dead-letters" if back == "dead-letters" else "runs", places=PLACES,
            back=back, leave=_path(request, back, values["ids"], where), max_reason=MAX_REASON, **values,
        )  # fmt: skip

    async def cancel(self, request: Request) -> Response:
        """Act, and go back with what became of it."""
        return await self._act(request, "cancel")

    async def retry(self, request: Request) -> Response:
        """Act, and go back with what became of it."""
        return await self._act(request, "retry")

    async def discard(self, request: Request) -> Response:
        """Act, and go back with what became of it."""
        return await self._act(request, "discard")

    async def replay(self, request: Request) -> Response:
        """Act, and go back with what became of it."""
        form = await _read_form(request)
        if isinstance(form.selection, RunsMatching):
            raise InvalidFilter("The form does not say which runs. Go back to the list and choose again.")
        operator, place = operator_of(request), replay_place(form.fields)
        changed = await operator.operations.runs.replay(
            checked_runs(form.selection), from_=place, actor=operator.actor.id, reason=check_reason(form.reason)
        )
        return _returned(request, "replay", form, changed)

    async def _act(self, request: Request, act: RunAct) -> Response:
        form = await _read_form(request)
        changed = await act_on_runs(operator_of(request), act, form.selection, reason=form.reason)
        return _returned(request, act, form, changed)


def replay_place(fields: Mapping[str, Sequence[str]]) -> ReplayFrom | None:
    """From where runs are to begin again; None leaves it to the job. Raises ``InvalidFilter``."""
    given = one_of(fields, "from")
    if given and given not in PLACES:
        raise InvalidFilter(f"from={ascii(given)[:40]} is none of {', '.join(PLACES)}.")
    return next((place for place in PLACES if place == given), None)


async def _counted(request: Request, act: RunAct, text: str) -> dict[str, Any]:
    found = await operator_of(request).observe.matching_runs(act, text)
    if not found.ids:
        raise InvalidFilter("No run matches this filter any more that this could be done to.")
    job = parse_run_filter(text).job
    return {"number": len(found.ids), "capped": found.capped, "cut_off": found.cut_off, "job": job}


def _one_job(names: Any) -> str | None:
    jobs = set(names)
    return jobs.pop() if len(jobs) == 1 else None


async def _read_form(request: Request) -> RunForm:
    fields = await read_fields(request)
    back = one_of(fields, "back")
    return RunForm(
        fields, _selection(fields), one_of(fields, "filter"), one_of(fields, "reason"),
        cast("Back", back) if back in get_args(Back) else "runs",
    )  # fmt: skip


def _selection(fields: Mapping[str, Sequence[str]]) -> RunSelection:
    try:
        if "id" in fields:
            return [UUID(text) for text in fields["id"]]
        cut_off, expected = datetime.fromisoformat(one_of(fields, "cut_off")), int(one_of(fields, "expected")[:9])
    except ValueError as error:
        raise InvalidFilter("The form does not say which runs. Go back to the list and choose again.") from error
    return RunsMatching(one_of(fields, "filter"), cut_off, expected)


def _returned(request: Request, act: Verb, form: RunForm, changed: RunsChanged) -> Response:
    ids = [] if isinstance(form.selection, RunsMatching) else form.selection
    told: dict[str, Any] = {"done": act, "asked": changed.asked, "changed": changed.changed}
    told["conflicts"] = len(changed.conflicts) or None
    if form.back == "run" and len(ids) == 1:
        rival = changed.conflicts[0].rival if changed.conflicts else None
        told = {"done": act, "changed": str(bool(changed.changed)).lower(), "rival": rival}
    elif form.back == "dead-letters":
        told["runs"] = "true"
    return Response(status_code=303, headers={"Location": _path(request, form.back, ids, form.filter, **told)})


def _path(request: Request, back: Back, ids: Sequence[UUID], where: str, **told: Any) -> str:
    visit = visit_of(request)
    if back == "run" and len(ids) == 1:
        return visit.path(f"runs/{ids[0]}", **told)
    if back == "dead-letters":
        return visit.path("dead-letters", **told)
    return visit.path("runs", filter=where, **told)
