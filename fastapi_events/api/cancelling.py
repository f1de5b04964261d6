"""Cancelling scheduled events from pages and programs."""

from __future__ import annotations

from uuid import UUID

from fastapi_events.api.dead_letter_actions import check_reason
from fastapi_events.api.operator import Operator


async def cancel_scheduled(operator: Operator, event_id: UUID, *, reason: str) -> bool:
    """Take an event from the schedule; False if it is not there any more. Raises ``NotFound`` for a foreign one."""
    reason = check_reason(reason)
    return await operator.operations.cancel_scheduled(event_id, actor=operator.actor.id, reason=reason)
