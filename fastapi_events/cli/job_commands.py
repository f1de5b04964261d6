"""``fastapi-events jobs …``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fastapi_events.cli.filters import filter_of
from fastapi_events.cli.options import (
    ActorOption,
    AppOption,
    JsonOption,
    LimitOption,
    PayloadOption,
    YesOption,
    acting_as,
)
from fastapi_events.cli.telling import errors_told, loaded, told

if TYPE_CHECKING:
    from fastapi_events.cli.run_acting import Act

jobs = typer.Typer(help="Jobs and their runs: look at them, cancel, retry, replay, pause.", no_args_is_help=True)
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of runs.", show_default=False)]
NeededIds = Annotated[list[str], typer.Argument(metavar="ID", help="Ids of runs.", show_default=False)]
JobArgument = Annotated[str, typer.Argument(help="The job's name, as 'jobs kinds' has it.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the record.")]
StateOption = Annotated[str | None, typer.Option(help="pending, running, completed, failed, timed_out or canceled.")]


@jobs.command("list")
def list_(
    where: Annotated[
        str | None, typer.Argument(help="A filter as the JSON API has it: 'job:inventory.restock state:failed'.")
    ] = None,
    app: AppOption = None,
    job: Annotated[str | None, typer.Option(help="Runs of this job.")] = None,
    state: StateOption = None,
    scope: Annotated[str | None, typer.Option(help="What they belong to: account/42.")] = None,
    tag: Annotated[str | None, typer.Option(help="Those with this tag; needs another option.")] = None,
    pool: Annotated[str | None, typer.Option(help="Those of this pool's jobs.")] = None,
    tenant: Annotated[str | None, typer.Option(help="A tenant's id.")] = None,
    root: Annotated[str | None, typer.Option(help="The tree that this run began.")] = None,
    cursor: Annotated[str | None, typer.Option(help="Go on where a list ended.")] = None,
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Runs, newest first; of one way to end, those that ended last."""
    from fastapi_events.cli.runs import list_runs

    given = [
        ("--job", "job", job), ("--state", "state", state), ("--scope", "scope", scope), ("--tag", "tag", tag),
        ("--pool", "pool", pool), ("--tenant", "tenant", tenant), ("--root", "root", root),
    ]  # fmt: skip
    with errors_told():
        wanted = filter_of(where, given)
    told(list_runs(loaded(app), wanted, cursor=cursor, limit=limit, as_json=as_json))


@jobs.command()
def kinds(app: AppOption = None, limit: LimitOption = 1_000, as_json: JsonOption = False) -> None:
    """Every job of the group: who runs it, what is ready, waits and runs, what failed within a day."""
    from fastapi_events.cli.job_kinds import list_jobs

    told(list_jobs(loaded(app), limit=limit, as_json=as_json))


@jobs.command()
def pools(app: AppOption = None, as_json: JsonOption = False) -> None:
    """The pools: how many runs at once in how many processes, and what is at work."""
    from fastapi_events.cli.job_kinds import list_pools

    told(list_pools(loaded(app), as_json=as_json))


@jobs.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="The run's id.")],
    app: AppOption = None,
    show_payload: PayloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """One run: how it stands and why, its steps and attempts, its input and result if asked for."""
    from fastapi_events.api.observe.filters import checked_id
    from fastapi_events.cli.run_details import show_run

    with errors_told():
        wanted = checked_id(run_id, "ID")
    told(show_run(loaded(app), wanted, show_payload=show_payload, as_json=as_json))


@jobs.command()
def logs(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="The run's id.")],
    app: AppOption = None,
    level: Annotated[str | None, typer.Option(help="The lowest: debug, info, warning, error or critical.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run has ended.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="Lines at most, the last ones.")] = 200,
    show_payload: PayloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """What a run has said by job.log, in its order; its last lines."""
    from fastapi_events.api.observe.filters import checked_id
    from fastapi_events.cli.run_logs import known_level, show_logs

    with errors_told():
        wanted, lowest = checked_id(run_id, "ID"), known_level(level)
    told(
        show_logs(
            loaded(app), wanted, level=lowest, limit=limit, follow=follow, show_payload=show_payload, as_json=as_json
        )
    )


@jobs.command()
def cancel(
    ids: NeededIds, app: AppOption = None, reason: ReasonOption = "", actor: ActorOption = None,
    yes: YesOption = False, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Cancel runs: those that wait end at once, those at work are interrupted where they await."""
    _act("cancel", ids, app, reason, actor, yes=yes, as_json=as_json)


@jobs.command()
def retry(
    ids: IdsArgument = None,
    app: AppOption = None,
    job: Annotated[str | None, typer.Option(help="In place of ids: those of this job that have ended so.")] = None,
    state: Annotated[str | None, typer.Option(help="failed, timed_out or canceled; else the first two.")] = None,
    before: Annotated[str | None, typer.Option(help="That ended before: 2h, 2026-01-31T12:00Z; else now.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="So many at most, oldest first.")] = 1_000,
    reason: ReasonOption = "",
    actor: ActorOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let runs that failed begin anew, with a fresh budget of attempts: those named, or those of a job.

    What their steps have done stays done.
    """
    from fastapi_events.cli.run_acting import MatchingRuns, checked_selection, retry_matching

    if ids and (job, state, before) == (None, None, None):
        _act("retry", ids, app, reason, actor, yes=yes, as_json=as_json)
    with errors_told():
        checked_selection(ids or [], job)
        wanted = MatchingRuns(job or "", state, before, limit, _reason(reason), acting_as(actor))
    told(retry_matching(loaded(app), wanted, yes=yes, as_json=as_json))


@jobs.command()
def replay(
    ids: NeededIds,
    app: AppOption = None,
    start: Annotated[
        str | None, typer.Option("--from", help="scratch, last_step or last_checkpoint; else as the job says.")
    ] = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let runs that have ended, however they did, begin again; steps behind that place are done again."""
    _act("replay", ids, app, reason, actor, yes=yes, as_json=as_json, start=start)


@jobs.command()
def discard(
    ids: NeededIds, app: AppOption = None, reason: ReasonOption = "", actor: ActorOption = None,
    yes: YesOption = False, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Give dead runs up, with a reason: nobody has to look after them any more; they can still be retried."""
    with errors_told():
        _reason(reason, needed=True)
    _act("discard", ids, app, reason, actor, yes=yes, as_json=as_json)


@jobs.command()
def pause(
    job: JobArgument, app: AppOption = None, reason: ReasonOption = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Begin no run of a job, in any process, until it is resumed; what is at work goes on."""
    _gate("pause", job, app, reason, actor, as_json=as_json)


@jobs.command()
def resume(
    job: JobArgument, app: AppOption = None, reason: ReasonOption = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Let a paused job go on: what waits is run in its order."""
    _gate("resume", job, app, reason, actor, as_json=as_json)


def _act(
    act: Act, ids: list[str], app: str | None, reason: str, actor: str | None, *, yes: bool, as_json: bool,
    start: str | None = None,
) -> None:  # fmt: skip
    from fastapi_events.cli.run_acting import RunWish, act_on_runs, checked_ids, checked_start

    with errors_told():
        wish = RunWish(act, checked_ids(ids), _reason(reason), acting_as(actor), checked_start(start))
    told(act_on_runs(loaded(app), wish, yes=yes, as_json=as_json))


def _gate(act: str, job: str, app: str | None, reason: str, actor: str | None, *, as_json: bool) -> None:
    from fastapi_events.cli.job_kinds import gate_job

    with errors_told():
        why = _reason(reason)
    told(gate_job(loaded(app), job, paused=act == "pause", actor=acting_as(actor), reason=why, as_json=as_json))


def _reason(reason: str, *, needed: bool = False) -> str:
    from fastapi_events.api.dead_letter_actions import check_reason

    return check_reason(reason, needed=needed)
