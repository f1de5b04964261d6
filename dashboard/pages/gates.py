"""Pausing, resuming and closing breakers: a page (or dialog) that says what that means, then the act itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import ValidationError

from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON
from fastapi_events.api.gating import Gate, GateAct, change_gate
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.actions import one_of, read_fields
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter, OperationRefused


class GatePages:
    """``/dashboard/gates``: of handlers on the consumers' page, and of lanes on the first."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the question and the act, which hold for everybody's events."""
        operate = guard.requires(Permission.operate, fleet=True)
        router.get("/gates/{act}", dependencies=[operate])(self.confirm)
        router.post("/gates/{act}", dependencies=[Depends(same_origin), operate])(self.change)

    async def confirm(
        self, request: Request, act: GateAct,
        handler: Annotated[str | None, Query(max_length=500)] = None, lane: Annotated[str | None, Query()] = None,
    ) -> Response:  # fmt: skip
        """What will happen, and the question why."""
        gate = _gate(act, handler, lane)
        if gate.handler is not None:
            await _look_for(request, gate.handler)
        return await self._desk.show(
            request, "confirm_gate.html", room=_room(gate) or "overview", act=act, gate=gate,
            back=visit_of(request).path(_room(gate)), max_reason=MAX_REASON,
        )  # fmt: skip

    async def change(self, request: Request, act: GateAct) -> Response:
        """Act, and go back to where the button was with what became of it."""
        fields = await read_fields(request)
        gate = _gate(act, one_of(fields, "handler") or None, one_of(fields, "lane") or None)
        changed = await change_gate(operator_of(request), act, gate, reason=one_of(fields, "reason"))
        where = visit_of(request).path(_room(gate), done=act, changed=str(changed).lower())
        return Response(status_code=303, headers={"Location": where})


def _gate(act: GateAct, handler: str | None, lane: str | None) -> Gate:
    try:
        gate = Gate.model_validate({"handler": handler, "lane": lane})
    except ValidationError as error:
        raise InvalidFilter("This does not say which handler or lane. Go back to the list and choose again.") from error
    if act == "reset-breaker" and gate.handler is None:
        raise InvalidFilter("Lanes have no circuit breaker: it is a handler's.")
    return gate


async def _look_for(request: Request, handler: str) -> None:
    known = {view.name for view in await operator_of(request).observe.handlers() if view.status != "retired"}
    if handler not in known:
        raise OperationRefused(f"This group has no handler {ascii(handler)[:80]}. Nothing was asked or changed.")


def _room(gate: Gate) -> str:
    return "consumers" if gate.handler else ""
