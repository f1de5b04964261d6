"""The JSON API's actions."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from fastapi_events.api import cancelling, dead_letter_actions
from fastapi_events.api.actor import Permission
from fastapi_events.api.operator_port import Changed
from fastapi_events.api.routes.answers import Cancellation, CancelledAnswer, ChangedAnswer, DeadLetterSelection
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of


class ActingRoutes:
    """POST routes over the operations; each action is recorded with its actor."""

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add every route with the permission that it needs."""
        operate = [Depends(same_origin), guard.requires(Permission.operate)]
        router.post("/dead-letters/redrive", dependencies=operate)(self.redrive)
        router.post("/dead-letters/discard", dependencies=operate)(self.discard)
        router.post("/scheduled/cancel", dependencies=operate)(self.cancel_scheduled)

    async def redrive(self, request: Request, body: DeadLetterSelection) -> ChangedAnswer:
        """Try dead letters again, with a fresh budget of attempts; only the handler that failed runs again."""
        changed = await dead_letter_actions.redrive(operator_of(request), body.selection(), reason=body.reason)
        return changed_answer(changed)

    async def discard(self, request: Request, body: DeadLetterSelection) -> ChangedAnswer:
        """Give dead letters up for good; needs a reason. What is parked behind them goes on."""
        changed = await dead_letter_actions.discard(operator_of(request), body.selection(), reason=body.reason)
        return changed_answer(changed)

    async def cancel_scheduled(self, request: Request, body: Cancellation) -> CancelledAnswer:
        """Take an event from the schedule. ``cancelled`` is false if it is not there: it may be in the log by now."""
        done = await cancelling.cancel_scheduled(operator_of(request), body.id, reason=body.reason)
        return CancelledAnswer(cancelled=done)


def changed_answer(changed: Changed) -> ChangedAnswer:
    """What an action did, for the client."""
    return ChangedAnswer(asked=changed.asked, changed=changed.changed)
