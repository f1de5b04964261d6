"""Runs of jobs: what there is, and everything that is known of one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response

from fastapi_events.api.actor import Permission
from fastapi_events.api.observe import MAX_PAGE
from fastapi_events.api.observe.job_views import RunDetail, RunSummary
from fastapi_events.api.observe.run_filters import RUN_TERMS, STATES, RunsFilter, parse_run_filter
from fastapi_events.api.observe.run_search import possible_acts
from fastapi_events.api.redaction import Shown
from fastapi_events.api.routes.guard import Guard, actor_of, operator_of
from fastapi_events.api.routes.reading_routes import Cursor, Filter
from fastapi_events.api.run_answers import run_answer, run_log_answer, run_page_answer
from fastapi_events.dashboard.desk import Desk
from fastapi_events.dashboard.pages.events import chips_of
from fastapi_events.dashboard.timeline import SCALE, timeline
from fastapi_events.dashboard.visit import visit_of
from fastapi_events.errors import InvalidFilter

Done = Annotated[Literal["cancel", "retry", "replay", "discard", "edit"] | None, Query()]
Number = Annotated[int, Query(ge=0, le=10_000)]
_LINES = 50
SUGGESTED = ["state:dead", "state:running", "state:pending", "source:schedule", "after:1h"]


class RunPages:
    """``/dashboard/runs`` and one run below it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add both routes."""
        view = [guard.requires(Permission.view)]
        router.get("/runs", dependencies=view)(self.listing)
        router.get("/runs/{run_id}", dependencies=view)(self.detail)

    async def listing(
        self, request: Request, where: Filter = "", cursor: Cursor = None, done: Done = None, asked: Number = 0,
        changed: Number = 0, conflicts: Number = 0,
    ) -> Response:  # fmt: skip
        """The runs that pass the filter; ``done`` tells of the action that led here."""
        visit = visit_of(request)
        given: dict[str, Any] = {"filter": where, "keys": RUN_TERMS, "states": STATES, "first": cursor is None}
        given |= {"done": done, "asked": asked, "changed": changed, "conflicts": conflicts, "suggested": SUGGESTED}
        given["refresh"] = visit.path("runs", filter=where)
        try:
            wanted = parse_run_filter(where)
            page = run_page_answer(await operator_of(request).observe.runs(wanted, cursor=cursor))
        except InvalidFilter as error:
            return await self._desk.show(
                request, "runs.html", room="runs", status=422, problem=str(error), page=None, chips=(), acts=(), **given
            )
        return await self._desk.show(
            request, "runs.html", room="runs", problem=None, page=page, acts=possible_acts(wanted.state),
            chips=chips_of(request, "runs", wanted.terms), **given,
        )  # fmt: skip

    async def detail(
        self, request: Request, run_id: UUID, done: Done = None, changed: Annotated[bool, Query()] = False,
        rival: UUID | None = None,
    ) -> Response:  # fmt: skip
        """One run: its content, where its time went, attempts, tree; ``done`` tells of the action that led here."""
        found = await operator_of(request).observe.run(run_id)
        if found is None:
            raise missing(run_id)
        run = run_answer(found, self._desk.port.registry.jobs, self._desk.redactor, actor_of(request))
        result = Shown(value=run.result, hidden=0)
        tree, more = await _tree(request, found)
        said = await operator_of(request).observe.run_logs(run_id, limit=_LINES)
        if said is None:
            raise missing(run_id)
        return await self._desk.show(
            request, "run.html", room="runs", run=run, visible=run.input_visible, result=result, done=done,
            log=run_log_answer(said, self._desk.redactor, actor_of(request)), rival=rival,
            given=Shown(run.input, run.input_text, run.hidden_secrets), changed=changed, tree=tree, more=more,
            has_result=found.result is not None, line=timeline(run, datetime.now(UTC)), scale=SCALE,
            acts=possible_acts("dead" if found.dead else found.state), refresh=visit_of(request).path(f"runs/{run_id}"),
        )  # fmt: skip


def missing(run_id: UUID) -> HTTPException:
    """The answer where there is no such run."""
    return HTTPException(404, f"There is no run {run_id}. It may have been removed by its retention.")


async def _tree(request: Request, run: RunDetail) -> tuple[list[tuple[int, RunSummary]], bool]:
    """The runs of the tree, each below the one that has spawned it, and whether there are more; alone it is none."""
    if run.parent_id is None and not run.children:
        return [], False
    page = await operator_of(request).observe.runs(RunsFilter(root=run.root_id), limit=MAX_PAGE)
    return family_tree(page.runs), page.older is not None


def family_tree(runs: Sequence[RunSummary]) -> list[tuple[int, RunSummary]]:
    """Runs with their depth, each below its parent, those that were started first first."""
    known = {run.id for run in runs}
    children: dict[UUID | None, list[RunSummary]] = {}
    for run in sorted(runs, key=lambda run: run.number, reverse=True):
        children.setdefault(run.parent_id if run.parent_id in known else None, []).append(run)
    tree: list[tuple[int, RunSummary]] = []
    waiting = [(0, root) for root in children.get(None, [])]
    while waiting:
        depth, run = waiting.pop()
        tree.append((depth, run))
        waiting += [(depth + 1, child) for child in children.pop(run.id, [])]
    return tree
