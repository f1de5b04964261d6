"""Erasing the content of an event's aggregate: a page (or dialog) that says how much that is, then the act itself."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.observe.views import EventDetail
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.actions import one_of, read_fields
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter


class ErasurePages:
    """``/dashboard/events/{event_id}/erase``: the event says which aggregate, and whose."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the confirmation and the act."""
        admin = guard.requires(Permission.admin)
        router.get("/events/{event_id}/erase", dependencies=[admin])(self.confirm)
        router.post("/events/{event_id}/erase", dependencies=[Depends(same_origin), admin])(self.erase)

    async def confirm(self, request: Request, event_id: UUID) -> Response:
        """What will be gone, and the question why."""
        event, aggregate_id = await _event(request, event_id)
        ahead = await operator_of(request).operations.preview_erase(
            event.aggregate or "", aggregate_id, tenant_id=event.tenant_id
        )
        return await self._desk.show(
            request, "erase.html", room="events", event=event, ahead=ahead, max_reason=MAX_REASON
        )

    async def erase(self, request: Request, event_id: UUID) -> Response:
        """Act, and go back to the event."""
        event, aggregate_id = await _event(request, event_id)
        reason = check_reason(one_of(await read_fields(request), "reason"))
        if not reason:
            raise InvalidFilter("An erasure needs a reason, such as the number of the request: it is kept for good.")
        operator = operator_of(request)
        await operator.operations.erase(
            event.aggregate or "", aggregate_id, tenant_id=event.tenant_id, actor=operator.actor.id, reason=reason
        )
        return Response(status_code=303, headers={"Location": visit_of(request).path(f"events/{event_id}")})


async def _event(request: Request, event_id: UUID) -> tuple[EventDetail, str]:
    event = await operator_of(request).observe.event(event_id)
    if event is None:
        raise HTTPException(404, f"The log has no event {event_id}. It may have been removed by its retention.")
    if event.aggregate_id is None:
        raise InvalidFilter("This event has no aggregate id, by which its content could be erased.")
    return event, event.aggregate_id
