"""Replays: history given again to one handler, counted first, at a chosen rate."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Unpack
from uuid import UUID

from fastapi_events.api.handler_kinds import Kinds, check_recorded
from fastapi_events.api.observe.filters import as_uuid
from fastapi_events.api.observe.given import whole
from fastapi_events.api.replay_filter import ReplayFilter, check_conditions, checked_text, selection_of
from fastapi_events.api.replay_views import ReplayPreview, ReplayView, preview_of, replay_view
from fastapi_events.api.unknown_handler import unknown_handler
from fastapi_events.errors import NotFound, OperationRefused
from fastapi_events.model.replay import ReplaySelection, ReplayState
from fastapi_events.store.replays import Order, ReplayBounds, ReplayCount, ReplayStore

MOST_UNCONFIRMED = 10_000
"""Events of a replay that starts without ``expected``."""
MOST_EVENTS = 10_000_000
"""Events of one replay; counting stops there too."""
HIGHEST_RATE = 100_000.0


class ReplayOperations:
    """Replays of one group's handlers. Every change is recorded with its actor.

    A replay delivers the events that live delivery had dealt with when it started, and no other: what is published or
    committed later, and what had not been read yet, is delivered as ever. Its deliveries carry its id, have marks of
    their own (so a transactional handler applies its effects once more, and once per replay), and never park a key of
    what is live.
    """

    def __init__(
        self, store: ReplayStore, group_id: Callable[[], int], kinds: Kinds, changed: Callable[[], None],
        tenants: tuple[str, ...] | None, names: Callable[[], Awaitable[Sequence[str]]],
    ) -> None:  # fmt: skip
        self._store, self._group_id, self._kinds, self._changed = store, group_id, kinds, changed
        self._tenants, self._names = tenants, names

    async def preview(self, handler: str, *, rate: float | None = None, **where: Unpack[ReplayFilter]) -> ReplayPreview:
        """Count what a replay would deliver, and say what to know before it starts; changes nothing.

        Without filters it is all of the history that the handler selects. Raises ``OperationRefused`` for an unknown or
        a broadcast handler and for filters that make no sense, ``UnknownOption`` for a condition that there is not,
        ``OperationUnavailable`` if it takes too long.
        """
        bounds, selection = await self._selected("preview", handler, where)
        count = await self._store.count(bounds, selection, MOST_EVENTS)
        kind = self._kinds().get(bounds.handler)
        return preview_of(bounds, selection, count, kind, rate=_checked_rate(rate), most=MOST_EVENTS)

    async def start(
        self, handler: str, *, rate: float | None = None, expected: int | None = None, actor: str, reason: str = "",
        **where: Unpack[ReplayFilter],
    ) -> ReplayView:  # fmt: skip
        """Begin a replay; returns it. The processes that have the handler work on it, behind what is live.

        ``rate`` is events per second for all of them together; None is as fast as live work lets it. ``expected`` is
        the count that ``preview`` gave: needed for more than 10,000 events and where effects in the database are
        applied again. If more than a tenth more match by now (rounded up: 1 lets 2 pass, 31 lets 35), nothing is
        started. One replay at a time of each handler, and 10,000,000 events of one replay at most. Raises as
        ``preview`` does, and ``OperationRefused`` for these.
        """
        _check_actor(actor)
        _check_expected(expected)
        bounds, selection = await self._selected("start", handler, where)
        count = await self._store.count(bounds, selection, MOST_EVENTS)
        self._check_count(bounds, count, expected)
        order = Order(bounds, selection, count, _checked_rate(rate), actor, reason)
        replay = await self._store.start(order)
        self._changed()
        return await self.get(replay)

    async def pause(self, replay_id: UUID | str, *, actor: str, reason: str = "") -> bool:
        """Begin no further event of a replay until ``resume``; it outlasts restarts. False if it was not running.

        What failed is tried again as ever. Raises ``NotFound``.
        """
        return await self._change(replay_id, "paused", ("running",), "pause_replay", actor, reason)

    async def resume(self, replay_id: UUID | str, *, actor: str, reason: str = "") -> bool:
        """Let a paused replay go on where it was; False if it was not paused. Raises ``NotFound``."""
        return await self._change(replay_id, "running", ("paused",), "resume_replay", actor, reason)

    async def cancel(self, replay_id: UUID | str, *, actor: str, reason: str = "") -> bool:
        """End a replay: no further event is begun, and what waits of it is discarded; its dead letters stay.

        False if it had ended before; what waited is discarded then too. An attempt that runs goes on to its end.
        Raises ``NotFound``.
        """
        return await self._change(replay_id, "cancelled", ("running", "paused"), "cancel_replay", actor, reason)

    async def list(self, *, handler: str | None = None, limit: int = 100) -> Sequence[ReplayView]:
        """The newest replays, with their progress; 1,000 at most."""
        if not 1 <= whole("limit", limit) <= 1_000:
            raise OperationRefused(f"limit={limit}: from 1 to 1,000 replays are listed.")
        wanted = checked_text("handler", handler)
        rows = await self._store.listing(self._group_id(), self._tenants, handler=wanted, limit=limit)
        return [replay_view(row) for row in rows]

    async def get(self, replay_id: UUID | str) -> ReplayView:
        """One replay with its progress; raises ``NotFound``."""
        replay = _checked_id(replay_id)
        rows = await self._store.listing(self._group_id(), self._tenants, replay=replay, limit=1)
        if not rows:
            raise NotFound(f"This group has no replay {replay}.")
        return replay_view(rows[0])

    async def _change(
        self, replay_id: UUID | str, state: ReplayState, before: Sequence[ReplayState], action: str, actor: str,
        reason: str,
    ) -> bool:  # fmt: skip
        _check_actor(actor)
        changed = await self._store.change(
            self._group_id(), _checked_id(replay_id), state, before,
            action=action, actor=actor, reason=reason, tenants=self._tenants,
        )  # fmt: skip
        if changed:
            self._changed()
        return changed

    async def _selected(
        self, act: Literal["preview", "start"], handler: str, where: ReplayFilter
    ) -> tuple[ReplayBounds, ReplaySelection]:
        check_conditions(act, where)
        checked_text("handler", handler)
        check_recorded(self._kinds, handler, "It has no place to replay from; start the processes anew.")
        bounds = await self._store.bounds(self._group_id(), handler)
        if bounds is None:
            raise unknown_handler(handler, await self._names())
        if bounds.retired:
            raise OperationRefused(
                f"{handler!r} is retired: nobody would run the replay. Start a process that has the handler first."
            )
        if bounds.started_after is None:
            raise OperationRefused(
                f"{handler!r} is registered and has not started: a process has died in between, and the next one that "
                "starts with it decides where it begins. Start one first."
            )
        return bounds, selection_of(bounds.selects, where, self._tenants)

    def _check_count(self, bounds: ReplayBounds, count: ReplayCount, expected: int | None) -> None:
        """Refuse what nobody has looked at. What is counted is what is replayed: it cannot grow any more."""
        if not count.events:
            raise OperationRefused(
                "No event matches: there is nothing to replay. Widen the filters, or leave some out."
            )
        if count.events > MOST_EVENTS:
            raise OperationRefused(
                f"More than {MOST_EVENTS:,} events match. Replay them in parts: with to_position=, then from there on."
            )
        again = self._kinds().get(bounds.handler) != "plain"
        if expected is None and (count.events > MOST_UNCONFIRMED or again):
            why = "It takes a session, so its effects in the database are applied again." if again else ""
            raise OperationRefused(
                f"{count.events:,} events would be given to {bounds.handler!r} again. {why}{' ' if why else ''}"
                f"Nothing was started: look at the preview, then pass expected={count.events}."
            )
        if expected is not None and count.events > expected + math.ceil(expected / 10):
            raise OperationRefused(
                f"{count.events:,} events match now, but {expected:,} were confirmed. Nothing was started: look again."
            )


def _check_expected(expected: object) -> None:
    if expected is not None and (not isinstance(expected, int) or isinstance(expected, bool) or expected < 0):
        raise OperationRefused(
            f"expected={ascii(expected)[:80]} is no count of events, which is a whole number from 0. Pass the "
            "preview's count: expected=preview.count."
        )


def _check_actor(actor: str) -> None:
    if not actor.strip():
        raise OperationRefused("actor is empty: every action is recorded with who did it. Pass actor='…'.")


def _checked_rate(rate: float | None) -> float | None:
    number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if rate is None or (number and 0 < rate <= HIGHEST_RATE):
        return rate
    shown = format(rate, "g") if number else ascii(rate)[:80]
    raise OperationRefused(
        f"rate={shown}: a replay goes at more than 0 and at most {HIGHEST_RATE:,.0f} events per second. Leave it out "
        "for as fast as live work allows."
    )


def _checked_id(given: UUID | str) -> UUID:
    found = as_uuid(given)
    if found is None:
        raise OperationRefused(
            f"{str(given)[:60]!r} is no replay id, which is a UUID: see operations.replays.list(), or "
            "'fastapi-events replay list'."
        )
    return found
