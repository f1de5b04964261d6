"""``fastapi-events schedules …``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fastapi_events.cli.options import ActorOption, AppOption, JsonOption, LimitOption, acting_as
from fastapi_events.cli.telling import errors_told, loaded, told

if TYPE_CHECKING:
    from fastapi_events.cli.schedules import Act

schedules = typer.Typer(help="Schedules: jobs that start by themselves.", no_args_is_help=True)
_Schedule = Annotated[str, typer.Argument(help="The schedule's id.")]
_Reason = Annotated[str, typer.Option(help="Why, for the record.")]


@schedules.command("list")
def list_(app: AppOption = None, limit: LimitOption = 1_000, as_json: JsonOption = False) -> None:
    """Every schedule of the group: its rule, its next tick, and whether anybody sees to it."""
    from fastapi_events.cli.schedules import list_schedules

    told(list_schedules(loaded(app), limit=limit, as_json=as_json))


@schedules.command()
def pause(
    schedule: _Schedule, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Let a schedule tick no more, in any process, until it is resumed."""
    _act("pause", schedule, app, reason, actor, as_json=as_json)


@schedules.command()
def resume(
    schedule: _Schedule, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Let a paused schedule go on with its next tick from now."""
    _act("resume", schedule, app, reason, actor, as_json=as_json)


@schedules.command()
def run(
    schedule: _Schedule, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Start one run with the schedule's input now, also while it is paused; its ticks stay as they are."""
    _act("run", schedule, app, reason, actor, as_json=as_json)


def _act(act: Act, schedule: str, app: AppOption, reason: str, actor: str | None, *, as_json: bool) -> None:
    from fastapi_events.api.dead_letter_actions import check_reason
    from fastapi_events.cli.schedules import ScheduleWish, act_on_schedule

    with errors_told():
        wish = ScheduleWish(act, schedule, acting_as(actor), check_reason(reason))
    told(act_on_schedule(loaded(app), wish, as_json=as_json))
