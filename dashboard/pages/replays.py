"""Replays: how far they are, counting one before it starts, and pausing, resuming, cancelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.dead_letter_actions import MAX_REASON, check_reason
from fastapi_events.api.observe.filters import about
from fastapi_events.api.replay_filter import ReplayFilter, moment_of
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, operator_of
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.actions import one_of, read_fields
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter, OperationRefused

Verb = Literal["pause", "resume", "cancel"]
FIELDS = (
    "handler", "names", "from_position", "to_position", "since", "until", "aggregate", "aggregate_id", "tenant_id",
    "correlation_id", "rate",
)  # fmt: skip
_MOST_SHOWN = 100


class ReplayPages:
    """``/dashboard/replays``, the form with its count, one replay, and the questions before it is changed."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add the routes; actions take requests from our own pages alone."""
        view, operate = guard.requires(Permission.view), guard.requires(Permission.operate)
        acting = [Depends(same_origin), operate]
        router.get("/replays", dependencies=[view])(self.listing)
        router.get("/replays/new", dependencies=[operate])(self.plan)
        router.post("/replays", dependencies=acting)(self.start)
        router.get("/replays/{replay_id}", dependencies=[view])(self.show)
        router.get("/replays/{replay_id}/confirm", dependencies=[operate])(self.confirm)
        router.post("/replays/{replay_id}/change", dependencies=acting)(self.change)

    async def listing(self, request: Request) -> Response:
        """The newest replays with their progress."""
        replays = await operator_of(request).operations.replays.list(limit=_MOST_SHOWN)
        refresh = visit_of(request).path("replays")
        return await self._desk.show(request, "replays.html", room="replays", replays=replays, refresh=refresh)

    async def plan(self, request: Request) -> Response:
        """The form; with a handler in it, also how much a replay would be of, and the button that starts it."""
        fields = {name: request.query_params.get(name, "")[:500].strip() for name in FIELDS}
        operator = operator_of(request)
        handlers = [handler.name for handler in await operator.observe.handlers() if handler.status != "retired"]
        preview, problem, status = None, None, 200
        if fields["handler"]:
            try:
                where, rate = read_plan(fields)
                preview = await operator.operations.replays.preview(fields["handler"], rate=rate, **where)
            except (InvalidFilter, OperationRefused) as error:
                problem, status = str(error), 422
        return await self._desk.show(
            request, "replay_new.html", room="replays", status=status, fields=fields, handlers=handlers,
            preview=preview, problem=problem, max_reason=MAX_REASON,
        )  # fmt: skip

    async def start(self, request: Request) -> Response:
        """Start what was counted, and go to it."""
        form = await read_fields(request)
        fields = {name: one_of(form, name)[:500].strip() for name in FIELDS}
        if not fields["handler"]:
            raise about("handler", "The form does not say which handler. Go back and choose one.")
        reason = check_reason(one_of(form, "reason"))
        expected = _number("expected", one_of(form, "expected"))
        where, rate = read_plan(fields)
        operator = operator_of(request)
        replay = await operator.operations.replays.start(
            fields["handler"], rate=rate, expected=expected, actor=operator.actor.id, reason=reason, **where
        )
        return Response(status_code=303, headers={"Location": visit_of(request).path(f"replays/{replay.id}")})

    async def show(
        self, request: Request, replay_id: UUID, changed: Annotated[bool | None, Query()] = None
    ) -> Response:
        """One replay; ``changed`` tells what became of the action that led here."""
        replay = await operator_of(request).operations.replays.get(replay_id)
        refresh = visit_of(request).path(f"replays/{replay_id}")
        return await self._desk.show(
            request, "replay.html", room="replays", replay=replay, refresh=refresh, changed=changed
        )

    async def confirm(self, request: Request, replay_id: UUID, action: Verb) -> Response:
        """What will happen, and the question why."""
        replay = await operator_of(request).operations.replays.get(replay_id)
        return await self._desk.show(
            request, "confirm_replay.html", room="replays", replay=replay, action=action, max_reason=MAX_REASON
        )

    async def change(self, request: Request, replay_id: UUID) -> Response:
        """Act, and go back to the replay."""
        form = await read_fields(request)
        action, reason = one_of(form, "action"), check_reason(one_of(form, "reason"))
        operator = operator_of(request)
        replays = operator.operations.replays
        acts = {"pause": replays.pause, "resume": replays.resume, "cancel": replays.cancel}
        if action not in acts:
            raise InvalidFilter("The form does not say what to do. Go back to the replay and choose again.")
        changed = await acts[action](replay_id, actor=operator.actor.id, reason=reason)
        where = visit_of(request).path(f"replays/{replay_id}", changed=str(changed).lower())
        return Response(status_code=303, headers={"Location": where})


def read_plan(fields: Mapping[str, str]) -> tuple[ReplayFilter, float | None]:
    """Filters and rate from the form's texts; raises ``InvalidFilter``."""
    where = ReplayFilter(
        from_position=_number("from_position", fields["from_position"]),
        to_position=_number("to_position", fields["to_position"]),
        since=moment_of("since", fields["since"]), until=moment_of("until", fields["until"]),
        events=fields["names"].replace(",", " ").split(), aggregate=fields["aggregate"] or None,
        aggregate_id=fields["aggregate_id"] or None, tenant_id=fields["tenant_id"] or None,
        correlation_id=fields["correlation_id"] or None,
    )  # fmt: skip
    return where, _rate(fields["rate"])


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise about(name, f"{name} is {text[:40]!r}, which is no whole number from 0.")
    return int(text)


def _rate(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError as error:
        raise about("rate", f"rate is {text[:40]!r}, which is no number of events per second.") from error
