"""Cancelling scheduled events from pages and programs."""

from __future__ import annotations

from uuid import UUID

from fastapi_events.api.dead_letter_actions import check_reason
from fastapi_events.api.operator_port import OperatorPort


async def cancel_scheduled(port: OperatorPort, event_id: UUID, *, actor: str, reason: str) -> bool:
    """Take an event from the schedule; False if it is not there any more."""
    return await port.operations.cancel_scheduled(event_id, actor=actor, reason=check_reason(reason))
