"""Pausing, resuming and closing breakers from pages and programs."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fastapi_events.api.body import Body
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.operator import Operator
from fastapi_events.model.lane import Lane

GateAct = Literal["pause", "resume", "reset-breaker"]


class Gate(Body):
    """What is paused or let go on: either a ``handler``, or a ``lane``; the lane ``every`` is each of them."""

    handler: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    lane: Lane | Literal["every"] | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if (self.handler is None) == (self.lane is None):
            raise ValueError("give either a handler or a lane (lane='every' is each of them)")
        return self

    @property
    def called(self) -> str:
        """What it is, for people."""
        return self.handler or ("every lane" if self.lane == "every" else f"lane {self.lane}")


class GateChange(Gate):
    """The same, with the reason that is kept in the record of actions."""

    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


async def change_gate(operator: Operator, act: GateAct, gate: Gate, *, reason: str) -> bool:
    """Do it for every process of the group; False if it was so already. Raises ``OperationRefused``."""
    operations, reason, actor = operator.operations, check_reason(reason), operator.actor.id
    if act == "reset-breaker":
        return await operations.reset_breaker(gate.handler or "", actor=actor, reason=reason)
    change = operations.pause if act == "pause" else operations.resume
    lane = None if gate.lane == "every" else gate.lane
    return await change(handler=gate.handler, lane=lane, actor=actor, reason=reason)
