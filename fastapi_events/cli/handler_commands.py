"""``fastapi-events handlers …``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from fastapi_events.cli.options import ActorOption, AppOption, JsonOption, LimitOption, YesOption, acting_as
from fastapi_events.cli.telling import errors_told, loaded, told

if TYPE_CHECKING:
    from fastapi_events.cli.gates import Act
    from fastapi_events.model.lane import Lane

handlers = typer.Typer(help="Handlers as the database and this application know them.", no_args_is_help=True)


@handlers.command("list")
def list_(app: AppOption = None, limit: LimitOption = 1_000, as_json: JsonOption = False) -> None:
    """Every handler of the group, those in trouble first: who runs it, what waits for it, what is dead."""
    from fastapi_events.cli.handlers import list_handlers

    told(list_handlers(loaded(app), limit=limit, as_json=as_json))


@handlers.command()
def retire(
    handler: Annotated[str, typer.Argument(help="The handler's id.")],
    app: AppOption = None,
    force: Annotated[bool, typer.Option("--force", help="Also if live processes run it.")] = False,
    discard_waiting: Annotated[
        bool, typer.Option("--discard-waiting", help="Also give up for good what waits for it; needs a --reason.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    actor: ActorOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give a handler that has gone from the code no new deliveries; what waits or is dead stays, unless said."""
    from fastapi_events.api.dead_letter_actions import check_reason
    from fastapi_events.cli.handlers import Wish, retire_handler

    with errors_told():
        wish = Wish(
            handler, force=force, discard_waiting=discard_waiting, reason=check_reason(reason, needed=discard_waiting),
            actor=acting_as(actor),
        )  # fmt: skip
    told(retire_handler(loaded(app), wish, yes=yes, as_json=as_json))


_Handler = Annotated[str, typer.Argument(help="The handler's id.")]
_Reason = Annotated[str, typer.Option(help="Why, for the record.")]


@handlers.command()
def pause(
    handler: _Handler, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Call a handler no more, in any process, until it is resumed: its events wait and spend no attempts."""
    _act("pause", app, reason, actor, as_json=as_json, handler=handler)


@handlers.command()
def resume(
    handler: _Handler, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Let a paused handler go on: what waits is handled in order."""
    _act("resume", app, reason, actor, as_json=as_json, handler=handler)


@handlers.command("reset-breaker")
def reset_breaker(
    handler: _Handler, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Close a handler's circuit breaker now; it opens again if the handler goes on failing."""
    _act("reset_breaker", app, reason, actor, as_json=as_json, handler=handler)


lanes = typer.Typer(help="Lanes: what is read by direction.", no_args_is_help=True)
_Lane = Annotated[str | None, typer.Argument(help="inbound, change or outbound; left out: every lane.")]


@lanes.command("pause")
def pause_lane(
    lane: _Lane = None, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Read a lane no more, in any process of the group, until it is resumed; its retries wait too."""
    _act("pause", app, reason, actor, as_json=as_json, lane=lane)


@lanes.command("resume")
def resume_lane(
    lane: _Lane = None, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Let a lane, or every lane, go on."""
    _act("resume", app, reason, actor, as_json=as_json, lane=lane)


def _act(
    act: Act, app: AppOption, reason: str, actor: str | None, *, as_json: bool, handler: str | None = None,
    lane: str | None = None,
) -> None:  # fmt: skip
    from fastapi_events.api.dead_letter_actions import check_reason
    from fastapi_events.cli.gates import GateWish, act_on_gate

    with errors_told():
        wish = GateWish(act, acting_as(actor), check_reason(reason), handler, cast("Lane | None", lane))
    told(act_on_gate(loaded(app), wish, as_json=as_json))
