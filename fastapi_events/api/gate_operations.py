"""Pausing, letting go on, and resetting breakers: what operators do to what is handled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi_events.api.handler_kinds import Kinds, check_recorded
from fastapi_events.api.unknown_handler import unknown_handler
from fastapi_events.errors import OperationRefused
from fastapi_events.model.lane import LANES, Lane
from fastapi_events.store.gates import GateStore
from fastapi_events.store.group import GroupStore, KnownHandler


class GateOperations:
    """Pauses and breakers of one group. Every call is recorded with its actor, and holds for every process."""

    def __init__(
        self, store: GateStore, groups: GroupStore, group_id: Callable[[], int], changed: Callable[[], None],
        kinds: Kinds,
    ) -> None:  # fmt: skip
        self._store, self._groups, self._group_id, self._changed = store, groups, group_id, changed
        self._kinds = kinds
        self._tenants: tuple[str, ...] | None = None

    async def pause(
        self, *, handler: str | None = None, lane: Lane | None = None, actor: str, reason: str = ""
    ) -> bool:
        """Call a handler no more, or read a lane no more, or (without either) handle nothing; until ``resume``.

        What runs goes on to its end. Events are kept, and no attempts are spent. It outlasts restarts. Returns whether
        that changed anything. Raises ``OperationRefused`` for a handler that the group does not have.
        """
        return await self._set("pause", handler, lane, actor, reason)

    async def resume(
        self, *, handler: str | None = None, lane: Lane | None = None, actor: str, reason: str = ""
    ) -> bool:
        """Let a handler, a lane, or (without either) every lane go on; what waited is handled in order."""
        return await self._set("resume", handler, lane, actor, reason)

    async def reset_breaker(self, handler: str, *, actor: str, reason: str = "") -> bool:
        """Close a handler's circuit breaker; False if it was closed. It opens again if the handler goes on failing."""
        self._check_whole("reset_breaker")
        known = await self._handler(handler, "It has no breaker: nothing of it is ever put off.")
        done = await self._store.reset_breaker(known.id, **record_of("reset_breaker", handler, actor, reason))
        return self._told(done)

    async def _set(self, action: str, handler: str | None, lane: Lane | None, actor: str, reason: str) -> bool:
        self._check_whole(action)
        if handler is not None and lane is not None:
            raise OperationRefused(f"{action}: a handler and a lane at once. Do one after the other.")
        paused = action == "pause"
        if handler is not None:
            known = await self._handler(handler, "There is nothing that could wait, so it is never paused.")
            record = record_of(f"{action}_handler", handler, actor, reason)
            changed = await self._store.pause_handler(self._group_id(), known.name, paused=paused, **record)
            return self._told(bool(changed))
        if lane is not None and lane not in LANES:
            raise OperationRefused(f"{ascii(lane)[:80]} is no lane. The lanes are {', '.join(LANES)}.")
        lanes = list(LANES.values()) if lane is None else [LANES[lane]]
        record = record_of(f"{action}_lanes", lane or "every lane", actor, reason)
        return self._told(await self._store.pause_lanes(self._group_id(), lanes, paused=paused, **record))

    async def _handler(self, name: str, broadcast: str) -> KnownHandler:
        """The group's handler of this name; ``broadcast`` says what a broadcast handler has instead."""
        known, _ = await self._groups.handlers(self._group_id())
        found = known.get(name)
        if found is None:
            check_recorded(self._kinds, name, broadcast)
            raise unknown_handler(name, known)
        return found

    def _check_whole(self, action: str) -> None:
        if self._tenants is not None:
            raise OperationRefused(
                f"{action}: it would hold for everybody's events, and these operations are those of some tenants. Use "
                "events.operations without within()."
            )

    def _told(self, changed: bool) -> bool:
        if changed:
            self._changed()
        return changed


def record_of(action: str, target: str, actor: str, reason: str) -> dict[str, Any]:
    """What is recorded of an action; raises ``OperationRefused`` without an actor."""
    if not actor.strip():
        raise OperationRefused("actor is empty: every action is recorded with who did it. Pass actor='…'.")
    return {"action": action, "actor": actor, "target": target, "details": {"reason": reason}}
