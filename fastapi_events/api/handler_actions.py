"""Retiring handlers: what operators do when a handler has gone from the code for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi_events.api.handler_kinds import Kinds, check_recorded
from fastapi_events.api.operations import MOST_AT_ONCE
from fastapi_events.errors import OperationRefused
from fastapi_events.store.retirement import RetirementStore


@dataclass(frozen=True, slots=True)
class Retired:
    """A handler that gets no new deliveries. ``now`` is False if it was retired before, and nothing was changed.

    ``processes`` counts the live processes that still run it: the next of them to start takes it into use again.
    """

    handler: str
    retired_at: datetime
    processes: int
    now: bool


class HandlerOperations:
    """Retires handlers of this group, and gives up what waits for them. Every change is recorded with its actor."""

    def __init__(
        self, store: RetirementStore, group: str, group_id: Callable[[], int], *, handler_kinds: Kinds = dict
    ) -> None:
        self._store, self._group, self._group_id, self._kinds = store, group, group_id, handler_kinds

    async def retire(self, handler: str, *, actor: str, reason: str = "", although_live: bool = False) -> Retired:
        """Give a handler no new deliveries from now on: neither of events to come nor of those not read yet.

        What waits for it or is dead stays as it is. A process that has the handler takes it into use again when it
        starts. Raises ``OperationRefused`` for a name that the group has no handler of, such as a
        broadcast handler's, and, unless ``although_live``, for one that a live process runs.
        """
        _check_actor(actor)
        done = await self._store.retire(
            self._group_id(), handler, although_live=although_live, actor=actor, details={"reason": reason}
        )
        if not done.known:
            gone = "There is nothing to retire: once it is out of the code, it ends with the processes that had it."
            check_recorded(self._kinds, handler, gone)
            raise OperationRefused(
                f"The group {self._group!r} has no handler {handler[:200]!r}. Look for its id in 'fastapi-events "
                "handlers list'."
            )
        if done.retired_at is None:
            number = f"{done.processes} live process{'' if done.processes == 1 else 'es'}"
            raise OperationRefused(
                f"{number} of the group {self._group!r} {'runs' if done.processes == 1 else 'run'} {handler!r}. "
                "Deploy the code without it first. To retire it although they run, say --force (although_live=True)."
            )
        return Retired(handler, done.retired_at, done.processes, done.now)

    async def discard_waiting(self, handler: str, *, actor: str, reason: str, limit: int = 1000) -> int:
        """Give up for good what waits for a retired handler, up to ``limit`` deliveries; returns how many it were.

        ``reason`` is kept with each. What a process works on at this moment is left alone, and nothing is done for a
        handler that is not retired. Raises ``OperationRefused`` without a reason or with a limit not from 1 to 10,000.
        """
        _check_actor(actor)
        if not reason.strip():
            raise OperationRefused("A discard needs a reason: it is kept with the delivery for whoever asks later.")
        if not 1 <= limit <= MOST_AT_ONCE:
            raise OperationRefused(
                f"limit={limit}: one action changes 1 to {MOST_AT_ONCE:,} deliveries. Do it in parts."
            )
        return await self._store.discard_waiting(
            self._group_id(), handler, limit=limit, reason=reason, actor=actor, details={"reason": reason}
        )


def _check_actor(actor: str) -> None:
    if not actor.strip():
        raise OperationRefused("actor is empty: every action is recorded with who did it. Pass actor='…'.")
