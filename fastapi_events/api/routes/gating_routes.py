"""The JSON API's pauses and breakers, which hold for every process of the group."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from fastapi_events.api.actor import Permission
from fastapi_events.api.body import Body
from fastapi_events.api.dead_letter_actions import MAX_REASON
from fastapi_events.api.gating import Gate, GateAct, GateChange, change_gate
from fastapi_events.api.observe.views import View
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of


class BreakerOf(Body):
    """A handler whose circuit breaker is to be closed, and why."""

    handler: Annotated[str, Field(min_length=1, max_length=500)]
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


class GateAnswer(View):
    """Whether anything was changed: false if it was so already."""

    changed: bool


class GatingRoutes:
    """POST routes that hold for everybody's events, and so are for actors of all tenants."""

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add every route; they take requests from our own pages alone."""
        operate = [Depends(same_origin), guard.requires(Permission.operate, fleet=True)]
        router.post("/pause", dependencies=operate)(self.pause)
        router.post("/resume", dependencies=operate)(self.resume)
        router.post("/breakers/reset", dependencies=operate)(self.reset_breaker)

    async def pause(self, request: Request, body: GateChange) -> GateAnswer:
        """Call a handler no more, or read a lane no more, until it is resumed; events are kept."""
        return await _changed(request, "pause", body, body.reason)

    async def resume(self, request: Request, body: GateChange) -> GateAnswer:
        """Let a handler or a lane go on; what waited is handled in order."""
        return await _changed(request, "resume", body, body.reason)

    async def reset_breaker(self, request: Request, body: BreakerOf) -> GateAnswer:
        """Close a handler's circuit breaker; it opens again if the handler goes on failing."""
        return await _changed(request, "reset-breaker", Gate(handler=body.handler), body.reason)


async def _changed(request: Request, act: GateAct, gate: Gate, reason: str) -> GateAnswer:
    return GateAnswer(changed=await change_gate(operator_of(request), act, gate, reason=reason))
