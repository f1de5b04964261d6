"""Redrive and discard: a page (or dialog) that says what will happen to how many, then the action itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from fastapi_events.api import dead_letter_actions
from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_IDS, MAX_REASON, Selection, matching
from fastapi_events.api.observe import COUNT_LIMIT
from fastapi_events.api.observe.filters import parse_dead_letter_filter
from fastapi_events.api.operator_port import Changed
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.api.routes.reading_routes import Filter
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter

Verb = Literal["redrive", "discard"]
Ids = Annotated[list[UUID], Query(alias="id", default_factory=list, max_length=MAX_IDS)]


@dataclass(frozen=True, slots=True)
class Form:
    """A posted form: which dead letters, and why."""

    selection: Selection
    filter: str
    reason: str


class ActionPages:
    """The confirmation, and the two actions."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the routes; those that change something take requests from our own pages alone."""
        operate = guard.requires(Permission.operate)
        router.get("/dead-letters/confirm", dependencies=[operate])(self.confirm)
        router.post("/dead-letters/redrive", dependencies=[Depends(same_origin), operate])(self.redrive)
        router.post("/dead-letters/discard", dependencies=[Depends(same_origin), operate])(self.discard)

    async def confirm(
        self,
        request: Request,
        action: Verb,
        ids: Ids,
        where: Filter = "",
        everything: Annotated[bool, Query(alias="all")] = False,
    ) -> Response:
        """What will happen to how many, and for a discard the question why."""
        values: dict[str, Any] = {"action": action, "filter": where, "ids": (), "cut_off": None, "capped": False}
        if everything:
            values |= await _counted(request, where)
        elif ids:
            await operator_of(request).observe.check_deliveries(ids)
            values |= {"ids": list(dict.fromkeys(ids)), "number": len(set(ids))}
        else:
            raise InvalidFilter("Nothing is selected. Tick the dead letters to act on, then try again.")
        back = visit_of(request).path("dead-letters", filter=where)
        return await self._desk.show(
            request, "confirm.html", room="dead-letters", back=back, max_reason=MAX_REASON, **values
        )

    async def redrive(self, request: Request) -> Response:
        """Act, and go back to the list with what became of it."""
        form = await _read_form(request)
        changed = await dead_letter_actions.redrive(operator_of(request), form.selection, reason=form.reason)
        return _back(request, "redrive", form, changed)

    async def discard(self, request: Request) -> Response:
        """Act, and go back to the list with what became of it."""
        form = await _read_form(request)
        changed = await dead_letter_actions.discard(operator_of(request), form.selection, reason=form.reason)
        return _back(request, "discard", form, changed)


async def _counted(request: Request, text: str) -> dict[str, Any]:
    where = parse_dead_letter_filter(text)
    if not where.terms:
        raise InvalidFilter("Acting on all dead letters needs a filter, such as handler:payments.capture_payment.")
    page = await operator_of(request).observe.dead_letters(where, limit=1)
    if not page.matching:
        raise InvalidFilter("No dead letter matches this filter any more.")
    return {"number": min(page.matching, COUNT_LIMIT), "capped": page.capped, "cut_off": page.cut_off}


async def read_fields(request: Request) -> Mapping[str, Sequence[str]]:
    """The fields of a posted form; raises what is answered with 415 or 422 for anything else."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415, "The dashboard's actions take a form (application/x-www-form-urlencoded).")
    try:
        return parse_qs((await request.body()).decode(), max_num_fields=MAX_IDS + 20)
    except ValueError as error:
        raise InvalidFilter("The form cannot be read.") from error


def one_of(fields: Mapping[str, Sequence[str]], name: str) -> str:
    """The value of a field, empty if there is none."""
    return fields.get(name, ("",))[0]


async def _read_form(request: Request) -> Form:
    fields = await read_fields(request)
    return Form(_selection(fields), one_of(fields, "filter"), one_of(fields, "reason"))


def _selection(fields: Mapping[str, Sequence[str]]) -> Selection:
    try:
        if "id" in fields:
            return [UUID(text) for text in fields["id"]]
        cut_off, expected = datetime.fromisoformat(one_of(fields, "cut_off")), int(one_of(fields, "expected")[:9])
    except ValueError as error:
        raise InvalidFilter(
            "The form does not say which dead letters. Go back to the list and choose again."
        ) from error
    return matching(one_of(fields, "filter"), cut_off, expected)


def _back(request: Request, action: Verb, form: Form, changed: Changed) -> Response:
    told = {"done": action, "asked": changed.asked, "changed": changed.changed}
    where = visit_of(request).path("dead-letters", filter=form.filter, **told)
    return Response(status_code=303, headers={"Location": where})
