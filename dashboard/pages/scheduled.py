"""Events that wait for their time, and cancelling one."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from fastapi_events.api import cancelling
from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.api.routes.reading_routes import Cursor
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.actions import one_of, read_fields
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter


class SchedulePages:
    """``/dashboard/scheduled``, the question before an event is cancelled, and the action."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the routes; the action takes requests from our own pages alone."""
        operate = guard.requires(Permission.operate)
        router.get("/scheduled", dependencies=[guard.requires(Permission.view)])(self.listing)
        router.get("/scheduled/confirm", dependencies=[operate])(self.confirm)
        router.post("/scheduled/cancel", dependencies=[Depends(same_origin), operate])(self.cancel)

    async def listing(
        self, request: Request, cursor: Cursor = None, cancelled: Annotated[bool | None, Query()] = None
    ) -> Response:
        """What is due first; ``cancelled`` tells what became of the action that led here."""
        given: dict[str, Any] = {"cancelled": cancelled, "first": cursor is None}
        given["refresh"] = visit_of(request).path("scheduled", cursor=cursor)
        try:
            page, problem, status = await operator_of(request).observe.scheduled(cursor=cursor), None, 200
        except InvalidFilter as error:
            page, problem, status = None, str(error), 422
        return await self._desk.show(
            request, "scheduled.html", room="scheduled", status=status, page=page, problem=problem, **given
        )

    async def confirm(self, request: Request, event_id: Annotated[UUID, Query(alias="id")]) -> Response:
        """What will happen, and the question why."""
        back = visit_of(request).path("scheduled")
        return await self._desk.show(
            request, "confirm_cancel.html", room="scheduled", back=back, max_reason=MAX_REASON, event_id=event_id
        )

    async def cancel(self, request: Request) -> Response:
        """Act, and go back to the list with what became of it."""
        fields = await read_fields(request)
        try:
            event_id = UUID(one_of(fields, "id"))
        except ValueError as error:
            raise InvalidFilter("The form does not say which event. Go back to the list and choose again.") from error
        done = await cancelling.cancel_scheduled(operator_of(request), event_id, reason=one_of(fields, "reason"))
        where = visit_of(request).path("scheduled", cancelled=str(done).lower())
        return Response(status_code=303, headers={"Location": where})
