"""The history of events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.observe.filters import EVENT_TERMS, STATUSES, EventFilter, Term
from fastapi_events.api.observe.run_filters import RunsFilter
from fastapi_events.api.observe.views import EventDetail, EventSummary
from fastapi_events.api.redaction import Shown, without_secrets
from fastapi_events.api.routes.guard import Guard, actor_of, operator_of
from fastapi_events.api.routes.reading_routes import Filter, Position, permitted_filter
from fastapi_events.api.run_answers import run_page_answer
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter

_NOTHING = Shown()
_MOST_RUNS = 50


@dataclass(frozen=True, slots=True)
class Chip:
    """A term of the filter in force, and the path of the list without it."""

    text: str
    without: str


class EventPages:
    """``/dashboard/events`` and one event below it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add both routes."""
        view = [guard.requires(Permission.view)]
        router.get("/events", dependencies=view)(self.listing)
        router.get("/events/{event_id}", dependencies=view)(self.detail)

    async def listing(
        self, request: Request, where: Filter = "", before: Position = None, after: Position = None
    ) -> Response:
        """A page of history that passes the filter; a filter that is not understood says why, in its place."""
        visit = visit_of(request)
        given: dict[str, Any] = {"filter": where, "keys": EVENT_TERMS, "statuses": STATUSES}
        given |= {"first": before is None and after is None, "refresh": visit.path("events", filter=where)}
        try:
            wanted: EventFilter = permitted_filter(request, where, self._desk.redactor)
            page = await operator_of(request).observe.events(wanted, before=before, after=after)
        except InvalidFilter as error:
            return await self._desk.show(
                request, "events.html", room="events", status=422, problem=str(error), page=None, chips=(), **given
            )
        chips = chips_of(request, "events", wanted.terms)
        return await self._desk.show(
            request, "events.html", room="events", problem=None, page=page, chips=chips, **given
        )

    async def detail(self, request: Request, event_id: UUID) -> Response:
        """One event: content, deliveries with their attempts, and the conversation it belongs to."""
        found = await operator_of(request).observe.event(event_id)
        if found is None:
            raise HTTPException(404, f"The log has no event {event_id}. It may have been removed by its retention.")
        visible = actor_of(request).may(Permission.view_payload)
        signs, observe = await self._desk.signs(request), operator_of(request).observe
        started = await observe.runs(RunsFilter(event=event_id), limit=_MOST_RUNS) if signs.jobs else None
        return await self._desk.show(
            request, "event.html", room="events", event=without_secrets(found), visible=visible,
            payload=self._desk.redactor.payload(found.name, found.payload) if visible else _NOTHING,
            others=self._desk.redactor.other_versions(found.name, found.other_versions) if visible else {},
            headers=self._desk.redactor.headers(found.headers) if visible else _NOTHING,
            signs=signs, runs=run_page_answer(started).runs if started else (),
            tree=conversation_tree(found), refresh=visit_of(request).path(f"events/{event_id}"),
        )  # fmt: skip


def chips_of(request: Request, room: str, terms: Sequence[Term]) -> list[Chip]:
    """The terms in force, each with the way to be rid of it."""
    visit = visit_of(request)
    return [
        Chip(term.text, visit.path(room, filter=" ".join(other.text for other in terms if other is not term)))
        for term in terms
    ]


def conversation_tree(event: EventDetail) -> list[tuple[int, EventSummary]]:
    """The events of the conversation with their depth, each below the one that caused it."""
    known = {other.id for other in event.conversation}
    children: dict[UUID | None, list[EventSummary]] = {}
    for other in event.conversation:
        cause = other.causation_id if other.causation_id in known and other.causation_id != other.id else None
        children.setdefault(cause, []).append(other)
    tree: list[tuple[int, EventSummary]] = []
    waiting = [(0, root) for root in reversed(children.get(None, []))]
    while waiting:
        depth, other = waiting.pop()
        tree.append((depth, other))
        waiting += [(depth + 1, child) for child in reversed(children.pop(other.id, []))]
    return tree
