"""Pausing handlers and lanes, letting them go on, and closing circuit breakers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.terminal import clean, print_json, say
from fastapi_events.model.lane import Lane

Act = Literal["pause", "resume", "reset_breaker"]


@dataclass(frozen=True, slots=True)
class GateWish:
    """What is to be done to a handler, to a lane, or without either to every lane; why and by whom."""

    act: Act
    actor: str
    reason: str
    handler: str | None = None
    lane: Lane | None = None

    @property
    def target(self) -> str:
        """What it is done to, for people."""
        return self.handler or (f"lane {self.lane}" if self.lane else "every lane")


@dataclass(frozen=True, slots=True)
class GateDone:
    """What became of it: nothing ``changed`` if it was so already."""

    act: Act
    target: str
    changed: bool


_DONE = {"pause": "paused", "resume": "resumed", "reset_breaker": "its circuit breaker is closed"}
_BEFORE = {"pause": "it was paused already", "resume": "it was not paused", "reset_breaker": "its breaker was closed"}


async def act_on_gate(events: Any, wish: GateWish, *, as_json: bool) -> int:
    """Do it, and say whether it changed anything."""
    async with operators_of(events) as operators:
        operations = operators.operations
        if wish.act == "reset_breaker":
            changed = await operations.reset_breaker(wish.handler or "", actor=wish.actor, reason=wish.reason)
        else:
            act = operations.pause if wish.act == "pause" else operations.resume
            changed = await act(handler=wish.handler, lane=wish.lane, actor=wish.actor, reason=wish.reason)
    if as_json:
        print_json(GateDone(wish.act, wish.target, changed))
    else:
        said = _DONE[wish.act] if changed else f"nothing was changed, {_BEFORE[wish.act]}"
        say(clean(f"{wish.target} of the group {events.group}: {said}."))
    return 0
