"""The JSON API's readings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request

from fastapi_events.api.actor import Permission
from fastapi_events.api.observe import MAX_PAGE
from fastapi_events.api.observe.filters import EventFilter, parse_event_filter
from fastapi_events.api.observe.schedule import SchedulePage
from fastapi_events.api.observe.views import (
    BroadcastView,
    DeadLetterGroup,
    DeadLetterPage,
    EventPage,
    HandlerView,
    Overview,
    WorkerView,
)
from fastapi_events.api.redaction import Redactor, without_secrets
from fastapi_events.api.routes.answers import ActionsAnswer, EventAnswer, actions_answer, event_answer
from fastapi_events.api.routes.guard import Guard, actor_of, operator_of
from fastapi_events.api.routes.spelling import spelt
from fastapi_events.errors import InvalidFilter

Filter = Annotated[str, Query(alias="filter", description="For example: name:orders.* status:dead after:2h")]
Position = Annotated[int | None, Query(ge=0, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str | None, Query(max_length=60)]


class ReadingRoutes:
    """GET routes over the read-only facade."""

    def __init__(self) -> None:
        self._redactor = Redactor()

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add every route with the permission that it needs."""
        view, operate = [guard.requires(Permission.view)], [guard.requires(Permission.operate)]
        router.get("/overview", dependencies=view)(self.overview)
        router.get("/events", dependencies=[*view, spelt("filter", "before", "after", "limit")])(self.events)
        router.get("/events/{event_id}", dependencies=view)(self.event)
        router.get("/scheduled", dependencies=[*view, spelt("cursor", "limit")])(self.scheduled)
        router.get("/dead-letters", dependencies=[*view, spelt("filter", "cursor", "limit")])(self.dead_letters)
        router.get("/dead-letters/groups", dependencies=view)(self.dead_letter_groups)
        router.get("/handlers", dependencies=view)(self.handlers)
        router.get("/broadcasts", dependencies=[guard.requires(Permission.view, fleet=True)])(self.broadcasts)
        router.get("/workers", dependencies=[guard.requires(Permission.view, fleet=True)])(self.workers)
        router.get("/actions", dependencies=[*operate, spelt("cursor", "limit")])(self.actions)

    async def overview(self, request: Request) -> Overview:
        """What needs attention, how far each lane is, handlers, processes, rates."""
        return await operator_of(request).observe.overview()

    async def events(
        self, request: Request, where: Filter = "", before: Position = None, after: Position = None, limit: Limit = 50
    ) -> EventPage:
        """A page of history, newest first; go on with ``before=older`` or ``after=newer``."""
        wanted = permitted_filter(request, where, self._redactor)
        return await operator_of(request).observe.events(wanted, before=before, after=after, limit=limit)

    async def event(self, request: Request, event_id: UUID) -> EventAnswer:
        """One event with its content, deliveries, attempts and conversation."""
        event = await operator_of(request).observe.event(event_id)
        if event is None:
            raise HTTPException(404, f"The log has no event {event_id} (any more).")
        return event_answer(event, self._redactor, actor_of(request))

    async def scheduled(self, request: Request, cursor: Cursor = None, limit: Limit = 50) -> SchedulePage:
        """A page of the events that wait for their time, what is due first; go on with ``cursor=later``."""
        return await operator_of(request).observe.scheduled(cursor=cursor, limit=limit)

    async def dead_letters(
        self, request: Request, where: Filter = "", cursor: Cursor = None, limit: Limit = 50
    ) -> DeadLetterPage:
        """A page of dead letters, newest first, with the count and cut-off that acting on all of them needs."""
        return without_secrets(await operator_of(request).observe.dead_letters(where, cursor=cursor, limit=limit))

    async def dead_letter_groups(self, request: Request) -> Sequence[DeadLetterGroup]:
        """Dead letters by handler and cause, the largest group first."""
        return [without_secrets(group) for group in await operator_of(request).observe.dead_letter_groups()]

    async def handlers(self, request: Request) -> Sequence[HandlerView]:
        """Every handler, those in trouble first."""
        return await operator_of(request).observe.handlers()

    async def broadcasts(self, request: Request) -> Sequence[BroadcastView]:
        """The broadcast handlers of live processes."""
        return await operator_of(request).observe.broadcasts()

    async def workers(self, request: Request) -> Sequence[WorkerView]:
        """The processes, those alive first."""
        return await operator_of(request).observe.workers()

    async def actions(self, request: Request, cursor: Cursor = None, limit: Limit = 50) -> ActionsAnswer:
        """What operators did, newest first."""
        return actions_answer(await operator_of(request).observe.actions(cursor=cursor, limit=limit), self._redactor)


def permitted_filter(request: Request, text: str, redactor: Redactor) -> EventFilter:
    """An understood filter that this actor may use: looking into payloads is reading them, and nobody reads secrets."""
    wanted = parse_event_filter(text)
    if wanted.reads_payload and not actor_of(request).may(Permission.view_payload):
        raise HTTPException(403, "payload.…: comparing payload values needs the permission 'view_payload'.")
    for path, _ in wanted.where.payload:
        if redactor.hides(path, wanted.event_name):
            raise InvalidFilter(
                f"payload.{'.'.join(path)}: is a secret by its name, type or mark and cannot be searched. Search "
                "another value, or add name: of events where it is none."
            )
    return wanted
