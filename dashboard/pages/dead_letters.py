"""Dead letters: what is broken and why, by handler and cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.observe.filters import DEAD_LETTER_TERMS, parse_dead_letter_filter
from fastapi_events.api.observe.job_views import DeadRunGroup, JobSigns, RunSummary
from fastapi_events.api.observe.run_filters import RunsFilter
from fastapi_events.api.observe.views import DeadLetterGroup
from fastapi_events.api.redaction import Shown, without_secrets
from fastapi_events.api.routes.guard import Guard, actor_of, operator_of
from fastapi_events.api.routes.reading_routes import Cursor, Filter
from fastapi_events.api.run_answers import run_page_answer
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.events import chips_of
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter

Done = Annotated[Literal["redrive", "retry", "discard"] | None, Query()]
Number = Annotated[int, Query(ge=0, le=10_000)]
_DEAD_RUNS = RunsFilter(state="dead")
_MOST_RUNS = 10


class DeadLetterPages:
    """``/dashboard/dead-letters`` and one delivery below it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add both routes."""
        view = [guard.requires(Permission.view)]
        router.get("/dead-letters", dependencies=view)(self.listing)
        router.get("/dead-letters/{delivery_id}", dependencies=view)(self.detail)

    async def listing(
        self, request: Request, where: Filter = "", cursor: Cursor = None, done: Done = None, asked: Number = 0,
        changed: Number = 0, conflicts: Number = 0, runs: bool = False,
    ) -> Response:  # fmt: skip
        """Groups by cause, and the dead letters that pass the filter; ``done`` tells of the action that led here.

        Without a filter, dead runs of jobs too; ``runs``: the action was on some of those.
        """
        observe = operator_of(request).observe
        given: dict[str, Any] = {"filter": where, "keys": DEAD_LETTER_TERMS, "done": done, "asked": asked}
        given |= {
            "runs": runs,
            "conflicts": conflicts,
            "changed": changed,
            "refresh": visit_of(request).path("dead-letters", filter=where, cursor=cursor),
        }
        given |= {"first": cursor is None}
        try:
            wanted = parse_dead_letter_filter(where)
            page = without_secrets(await observe.dead_letters(wanted, cursor=cursor))
        except InvalidFilter as error:
            return await self._desk.show(
                request, "dead_letters.html", room="dead-letters", status=422, problem=str(error), page=None, groups=(),
                chips=(), dead_runs=(), signs=None, runs_dead=0, **given,
            )  # fmt: skip
        whole = not wanted.terms and cursor is None
        signs = await self._desk.signs(request)
        return await self._desk.show(
            request, "dead_letters.html", room="dead-letters", problem=None, page=page, signs=signs,
            groups=await self._groups(request, signs) if whole else (), runs_dead=signs.dead if whole else 0,
            dead_runs=await self._runs(request) if whole and signs.dead else (),
            chips=chips_of(request, "dead-letters", wanted.terms), **given,
        )  # fmt: skip

    async def _groups(self, request: Request, signs: JobSigns) -> list[DeadLetterGroup | DeadRunGroup]:
        """By cause, deliveries and runs, the largest group first."""
        observe = operator_of(request).observe
        groups: list[DeadLetterGroup | DeadRunGroup] = [*await observe.dead_letter_groups()]
        if signs.dead:
            groups += await observe.dead_run_groups()
        return [without_secrets(group) for group in sorted(groups, key=lambda group: -group.dead)]

    async def _runs(self, request: Request) -> Sequence[RunSummary]:
        page = await operator_of(request).observe.runs(_DEAD_RUNS, limit=_MOST_RUNS)
        return run_page_answer(page).runs

    async def detail(self, request: Request, delivery_id: UUID) -> Response:
        """One delivery: its error, every attempt, and the event as it was when the delivery died."""
        found = await operator_of(request).observe.delivery(delivery_id)
        if found is None:
            raise HTTPException(404, f"There is no delivery {delivery_id}. It may have been removed by its retention.")
        visible = actor_of(request).may(Permission.view_payload)
        payload = Shown()
        if visible and found.payload is not None:
            payload = self._desk.redactor.payload(found.event_name, found.payload)
        others = self._desk.redactor.other_versions(found.event_name, found.other_versions) if visible else {}
        return await self._desk.show(
            request, "delivery.html", room="dead-letters", delivery=without_secrets(found), visible=visible,
            payload=payload, others=others, refresh=visit_of(request).path(f"dead-letters/{delivery_id}"),
        )  # fmt: skip
