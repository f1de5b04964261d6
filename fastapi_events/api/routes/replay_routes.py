"""The JSON API's replays: counted, started, looked at, paused, resumed and cancelled."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field

from fastapi_events.api.actor import Permission
from fastapi_events.api.body import Body
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.observe.views import View
from fastapi_events.api.replay_filter import ReplayFilter
from fastapi_events.api.replay_views import ReplayPreview, ReplayView
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.api.routes.spelling import spelt

Text = Annotated[str, Field(min_length=1, max_length=500)]
Position = Annotated[int, Field(ge=0, lt=2**63)]


class ReplayOf(Body):
    """Which events are to be given to which handler again; what is left out narrows nothing.

    Positions and ``since`` are inclusive, ``until`` is exclusive. ``rate`` is events per second.
    """

    handler: Text
    from_position: Position | None = None
    to_position: Position | None = None
    since: datetime | None = None
    until: datetime | None = None
    events: list[Text] = Field(default_factory=list[str], max_length=100)
    aggregate: Text | None = None
    aggregate_id: Text | None = None
    key: Text | None = None
    tenant_id: Text | None = None
    correlation_id: UUID | None = None
    rate: Annotated[float, Field(gt=0, le=100_000)] | None = None

    @property
    def where(self) -> ReplayFilter:
        """The filters as operations take them."""
        return ReplayFilter(
            from_position=self.from_position, to_position=self.to_position, since=self.since, until=self.until,
            events=self.events, aggregate=self.aggregate, aggregate_id=self.aggregate_id, key=self.key,
            tenant_id=self.tenant_id, correlation_id=self.correlation_id,
        )  # fmt: skip


class ReplayOrder(ReplayOf):
    """A replay that is to begin. ``expected`` is the count of the preview."""

    expected: Annotated[int, Field(ge=0)] | None = None
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


class ReplayChange(Body):
    """Why a replay is paused, resumed or cancelled."""

    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""


class ReplaysAnswer(View):
    """Replays, newest first."""

    replays: tuple[ReplayView, ...]


class ReplayChanged(View):
    """Whether that changed anything."""

    changed: bool


class ReplayRoutes:
    """``/replays``: reading needs ``view``, the preview and everything that changes something ``operate``."""

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add every route with the permission that it needs."""
        view = [guard.requires(Permission.view)]
        operate = [Depends(same_origin), guard.requires(Permission.operate)]
        router.get("/replays", dependencies=[*view, spelt("handler", "limit")])(self.replays)
        router.post("/replays/preview", dependencies=operate)(self.preview_replay)
        router.get("/replays/{replay_id}", dependencies=view)(self.replay)
        router.post("/replays", dependencies=operate, status_code=201)(self.start_replay)
        router.post("/replays/{replay_id}/pause", dependencies=operate)(self.pause_replay)
        router.post("/replays/{replay_id}/resume", dependencies=operate)(self.resume_replay)
        router.post("/replays/{replay_id}/cancel", dependencies=operate)(self.cancel_replay)

    async def replays(
        self, request: Request, handler: Annotated[str | None, Query(max_length=500)] = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
    ) -> ReplaysAnswer:  # fmt: skip
        """The newest replays with their progress."""
        found = await operator_of(request).operations.replays.list(handler=handler, limit=limit)
        return ReplaysAnswer(replays=tuple(found))

    async def replay(self, request: Request, replay_id: UUID) -> ReplayView:
        """One replay with its progress."""
        return await operator_of(request).operations.replays.get(replay_id)

    async def preview_replay(self, request: Request, body: ReplayOf) -> ReplayPreview:
        """How many events a replay would deliver, and what to know before it starts; changes nothing."""
        return await operator_of(request).operations.replays.preview(body.handler, rate=body.rate, **body.where)

    async def start_replay(self, request: Request, body: ReplayOrder) -> ReplayView:
        """Begin a replay; more than 10,000 events, and effects that are applied again, need ``expected``."""
        operator, reason = operator_of(request), check_reason(body.reason)
        return await operator.operations.replays.start(
            body.handler, rate=body.rate, expected=body.expected, actor=operator.actor.id, reason=reason, **body.where
        )

    async def pause_replay(self, request: Request, replay_id: UUID, body: ReplayChange) -> ReplayChanged:
        """Begin no further event of a replay until it is resumed."""
        operator, reason = operator_of(request), check_reason(body.reason)
        replays = operator.operations.replays
        return ReplayChanged(changed=await replays.pause(replay_id, actor=operator.actor.id, reason=reason))

    async def resume_replay(self, request: Request, replay_id: UUID, body: ReplayChange) -> ReplayChanged:
        """Let a paused replay go on."""
        operator, reason = operator_of(request), check_reason(body.reason)
        replays = operator.operations.replays
        return ReplayChanged(changed=await replays.resume(replay_id, actor=operator.actor.id, reason=reason))

    async def cancel_replay(self, request: Request, replay_id: UUID, body: ReplayChange) -> ReplayChanged:
        """End a replay; what waits of it is discarded, its dead letters stay."""
        operator, reason = operator_of(request), check_reason(body.reason)
        replays = operator.operations.replays
        return ReplayChanged(changed=await replays.cancel(replay_id, actor=operator.actor.id, reason=reason))
