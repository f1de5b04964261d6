"""The JSON API's jobs, runs and pools: listed, shown, cancelled, retried, replayed, edited, paused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from pydantic import ConfigDict, Field

from fastapi_events.api.actor import Permission
from fastapi_events.api.body import Body
from fastapi_events.api.dead_letter_actions import MAX_IDS, MAX_REASON, check_reason
from fastapi_events.api.observe.given import HIGHEST
from fastapi_events.api.observe.job_views import JobView, PoolView, RunPage
from fastapi_events.api.observe.run_log import MAX_LINES, LogLevel
from fastapi_events.api.observe.views import View
from fastapi_events.api.operator_port import OperatorPort
from fastapi_events.api.pool_operations import MOST_AT_ONCE
from fastapi_events.api.redaction import Redactor
from fastapi_events.api.routes.csrf import same_origin
from fastapi_events.api.routes.guard import Guard, actor_of, operator_of
from fastapi_events.api.routes.reading_routes import Cursor, Limit
from fastapi_events.api.routes.spelling import spelt
from fastapi_events.api.run_answers import RunAnswer, RunLogAnswer, run_answer, run_log_answer, run_page_answer
from fastapi_events.api.run_operations import RetryState, RunsChanged
from fastapi_events.errors import InvalidInput
from fastapi_events.model.job import ReplayFrom

Filter = Annotated[str, Query(alias="filter", description="For example: job:inventory.restock state:failed")]
Place = Annotated[int | None, Query(ge=0, le=HIGHEST, description="The number of a line, as an earlier page gave it")]
Lines = Annotated[int, Query(ge=1, le=MAX_LINES)]
Reserved = Annotated[bool, Query(description="Also the pools of lanes and replays")]
Reason = Annotated[str, Field(max_length=MAX_REASON)]
Name = Annotated[str, Field(min_length=1, max_length=500)]


class RunSelection(Body):
    """Runs by their ids, and why they are acted on."""

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MAX_IDS)]
    reason: Reason = ""


class RunReplay(RunSelection):
    """The same, and from where they begin again; left out, it is as each job says."""

    model_config = ConfigDict(populate_by_name=True)
    from_: ReplayFrom | None = Field(default=None, alias="from")


class RunRetryOfMany(Body):
    """Runs that ended before ``finished_before``, of one job or all: those that failed or timed out, or of a state."""

    job: Name | None = None
    state: RetryState | None = None
    finished_before: datetime
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    reason: Reason = ""


class RunEdited(Body):
    """Another input for a run that has ended without success, with which it begins anew."""

    model_config = ConfigDict(populate_by_name=True)
    input: Any
    from_: ReplayFrom | None = Field(default=None, alias="from")
    reason: Reason = ""


class JobChange(Body):
    """A job by its name, and why it is paused or let go on."""

    job: Name
    reason: Reason = ""


class RunInTheWayAnswer(View):
    """A run that was left as it is, because another one, ``rival``, has its dedupe key or its place by now."""

    run: UUID
    rival: UUID


class PoolSize(Body):
    """How many runs, or handlers, of a pool each process shall have at work at once, and why."""

    concurrency: int = Field(ge=1, le=MOST_AT_ONCE)
    reason: Reason = ""


class PoolReset(Body):
    """Why the numbers of the settings shall hold again."""

    reason: Reason = ""


class RunsAnswer(View):
    """Of ``asked`` runs, ``changed`` were in a state that allowed it; in the way of ``conflicts`` was another one."""

    asked: int
    changed: int
    conflicts: tuple[RunInTheWayAnswer, ...] = ()


class JobAnswer(View):
    """Whether that changed anything."""

    changed: bool


class JobRoutes:
    """``/jobs``, ``/runs`` and ``/pools``: reading needs ``view``, acting ``operate``, another input ``edit``."""

    def __init__(self, port: OperatorPort) -> None:
        self._port, self._redactor = port, Redactor()

    def add_to(self, router: APIRouter, guard: Guard) -> None:
        """Add every route with the permission that it needs."""
        view, own = [guard.requires(Permission.view)], Depends(same_origin)
        operate, edit = [own, guard.requires(Permission.operate)], [own, guard.requires(Permission.edit)]
        router.get("/jobs", dependencies=view)(self.jobs)
        router.get("/pools", dependencies=[guard.requires(Permission.view, fleet=True), spelt("reserved")])(self.pools)
        router.get("/runs", dependencies=[*view, spelt("filter", "cursor", "limit")])(self.runs)
        router.get("/runs/{run_id}", dependencies=view)(self.run)
        log_terms = spelt("before", "after", "level", "limit")
        router.get("/runs/{run_id}/logs", dependencies=[*view, log_terms])(self.run_logs)
        router.post("/runs/cancel", dependencies=operate)(self.cancel_runs)
        router.post("/runs/retry", dependencies=operate)(self.retry_runs)
        router.post("/runs/retry-matching", dependencies=operate)(self.retry_matching_runs)
        router.post("/runs/replay", dependencies=operate)(self.replay_runs)
        router.post("/runs/discard", dependencies=operate)(self.discard_runs)
        router.post("/runs/{run_id}/edit", dependencies=edit)(self.edit_run)
        everybody = [own, guard.requires(Permission.operate, fleet=True)]
        router.post("/jobs/pause", dependencies=everybody)(self.pause_job)
        router.post("/jobs/resume", dependencies=everybody)(self.resume_job)
        router.post("/pools/{name}/set", dependencies=everybody)(self.set_pool)
        router.post("/pools/{name}/reset", dependencies=everybody)(self.reset_pool)

    async def jobs(self, request: Request) -> Sequence[JobView]:
        """Every job of the group with its load."""
        return await operator_of(request).observe.jobs()

    async def pools(self, request: Request, reserved: Reserved = False) -> Sequence[PoolView]:
        """The pools, the live processes that run them, and what they run."""
        return await operator_of(request).observe.pools(reserved=reserved)

    async def runs(
        self, request: Request, where: Filter = "", cursor: Cursor = None, limit: Limit = 50
    ) -> RunPage:  # fmt: skip
        """A page of runs, the newest first; go on with ``cursor=older``."""
        return run_page_answer(await operator_of(request).observe.runs(where, cursor=cursor, limit=limit))

    async def run(self, request: Request, run_id: UUID) -> RunAnswer:
        """One run with its content, steps, attempts, parent and children."""
        found = await operator_of(request).observe.run(run_id)
        if found is None:
            raise HTTPException(404, f"There is no run {run_id}.")
        return run_answer(found, self._port.registry.jobs, self._redactor, actor_of(request))

    async def run_logs(
        self, request: Request, run_id: UUID, before: Place = None, after: Place = None,
        level: LogLevel | None = None, limit: Lines = 200,
    ) -> RunLogAnswer:  # fmt: skip
        """What a run has said: the last lines; those before one with ``before=older``, behind with ``after=newest``."""
        operator = operator_of(request)
        found = await operator.observe.run_logs(run_id, before=before, after=after, level=level, limit=limit)
        if found is None:
            raise HTTPException(404, f"There is no run {run_id}.")
        return run_log_answer(found, self._redactor, actor_of(request))

    async def cancel_runs(self, request: Request, body: RunSelection) -> RunsAnswer:
        """Cancel runs that have not ended."""
        operator, reason = operator_of(request), check_reason(body.reason)
        return _answer(await operator.operations.runs.cancel(body.ids, actor=operator.actor.id, reason=reason))

    async def retry_runs(self, request: Request, body: RunSelection) -> RunsAnswer:
        """Let runs that ended without success begin anew; what their steps have done stays done."""
        operator, reason = operator_of(request), check_reason(body.reason)
        return _answer(await operator.operations.runs.retry(body.ids, actor=operator.actor.id, reason=reason))

    async def retry_matching_runs(self, request: Request, body: RunRetryOfMany) -> RunsAnswer:
        """The same with all that ended before a moment, the first first."""
        operator, reason = operator_of(request), check_reason(body.reason)
        changed = await operator.operations.runs.retry_matching(
            job=body.job, state=body.state, finished_before=body.finished_before, limit=body.limit,
            actor=operator.actor.id, reason=reason,
        )  # fmt: skip
        return _answer(changed)

    async def replay_runs(self, request: Request, body: RunReplay) -> RunsAnswer:
        """Let runs that have ended, however they did, begin again from some place."""
        operator, reason = operator_of(request), check_reason(body.reason)
        runs = operator.operations.runs
        return _answer(await runs.replay(body.ids, from_=body.from_, actor=operator.actor.id, reason=reason))

    async def discard_runs(self, request: Request, body: RunSelection) -> RunsAnswer:
        """Give dead runs up: they are dead no more; needs a reason."""
        operator, reason = operator_of(request), check_reason(body.reason, needed=True)
        return _answer(await operator.operations.runs.discard(body.ids, actor=operator.actor.id, reason=reason))

    async def edit_run(self, request: Request, run_id: UUID, body: RunEdited) -> JobAnswer:
        """Let a run that ended without success begin anew with another input; the one that it had is kept."""
        operator, reason = operator_of(request), check_reason(body.reason)
        try:
            changed = await operator.operations.runs.edit_and_retry(
                run_id, body.input, from_=body.from_, actor=operator.actor.id, reason=reason
            )
        except InvalidInput as error:
            problem = {"type": "invalid_input", "loc": ["body", "input"], "msg": str(error)}
            raise HTTPException(422, [problem]) from error
        return JobAnswer(changed=changed)

    async def pause_job(self, request: Request, body: JobChange) -> JobAnswer:
        """Begin no run of a job until it is resumed."""
        operator, reason = operator_of(request), check_reason(body.reason)
        return JobAnswer(changed=await operator.operations.pause_job(body.job, actor=operator.actor.id, reason=reason))

    async def resume_job(self, request: Request, body: JobChange) -> JobAnswer:
        """Let a paused job go on."""
        operator, reason = operator_of(request), check_reason(body.reason)
        return JobAnswer(changed=await operator.operations.resume_job(body.job, actor=operator.actor.id, reason=reason))

    async def set_pool(self, request: Request, name: str, body: PoolSize) -> JobAnswer:
        """Have so many of a pool at work at once in each process, until it is reset."""
        operator, reason = operator_of(request), check_reason(body.reason)
        done = await operator.operations.set_pool(name, body.concurrency, actor=operator.actor.id, reason=reason)
        return JobAnswer(changed=done)

    async def reset_pool(self, request: Request, name: str, body: PoolReset) -> JobAnswer:
        """Have the numbers of the settings hold again."""
        operator, reason = operator_of(request), check_reason(body.reason)
        return JobAnswer(changed=await operator.operations.reset_pool(name, actor=operator.actor.id, reason=reason))


def _answer(changed: RunsChanged) -> RunsAnswer:
    return RunsAnswer(
        asked=changed.asked, changed=changed.changed,
        conflicts=tuple(RunInTheWayAnswer(run=one.run, rival=one.rival) for one in changed.conflicts),
    )  # fmt: skip
