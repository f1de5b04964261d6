"""``fastapi-events replay …``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastapi_events.cli.options import ActorOption, AppOption, JsonOption, LimitOption, YesOption, acting_as
from fastapi_events.cli.telling import errors_told, loaded, told

replay = typer.Typer(help="Give history again to one handler.", no_args_is_help=True)
HandlerArgument = Annotated[str, typer.Argument(help="The handler's id, as 'handlers list' has it.")]
IdArgument = Annotated[str, typer.Argument(help="The replay's id.")]
FromOption = Annotated[int | None, typer.Option("--from", min=0, help="From this position on.")]
ToOption = Annotated[int | None, typer.Option("--to", min=0, help="Up to this position.")]
SinceOption = Annotated[str | None, typer.Option(help="Published since: 2h, 7d, 2026-01-31, 2026-01-31T12:00Z.")]
UntilOption = Annotated[str | None, typer.Option(help="Published before.")]
NameOption = Annotated[list[str] | None, typer.Option("--name", help="An event's name; may be given again.")]
AggregateOption = Annotated[str | None, typer.Option(help="order, or order/4711.")]
KeyOption = Annotated[str | None, typer.Option(help="A whole ordering key: tenant/aggregate/value.")]
TenantOption = Annotated[str | None, typer.Option(help="A tenant's id.")]
CorrelationOption = Annotated[str | None, typer.Option(help="A correlation id.")]
RateOption = Annotated[float | None, typer.Option(help="Events per second; else as fast as live work allows.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for the record.")]


@replay.command()
def preview(
    handler: HandlerArgument, app: AppOption = None, from_position: FromOption = None, to_position: ToOption = None,
    since: SinceOption = None, until: UntilOption = None, name: NameOption = None, aggregate: AggregateOption = None,
    key: KeyOption = None, tenant: TenantOption = None, correlation: CorrelationOption = None, rate: RateOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Count what a replay would deliver, and say what to know before it starts."""
    from fastapi_events.cli.replays import filters, preview_replay

    with errors_told():
        where = filters(from_position, to_position, since, until, name, aggregate, key, tenant, correlation)
    told(preview_replay(loaded(app), handler, where, rate=rate, as_json=as_json))


@replay.command()
def start(
    handler: HandlerArgument, app: AppOption = None, from_position: FromOption = None, to_position: ToOption = None,
    since: SinceOption = None, until: UntilOption = None, name: NameOption = None, aggregate: AggregateOption = None,
    key: KeyOption = None, tenant: TenantOption = None, correlation: CorrelationOption = None, rate: RateOption = None,
    reason: ReasonOption = "", actor: ActorOption = None, yes: YesOption = False, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Begin a replay, once its count has been confirmed. Processes that have the handler work on it."""
    from fastapi_events.api.dead_letter_actions import check_reason
    from fastapi_events.cli.replays import filters, start_replay

    with errors_told():
        where = filters(from_position, to_position, since, until, name, aggregate, key, tenant, correlation)
        why = check_reason(reason)
    told(
        start_replay(
            loaded(app), handler, where, rate=rate, actor=acting_as(actor), reason=why, yes=yes, as_json=as_json
        )
    )


@replay.command("list")
def list_(
    app: AppOption = None,
    handler: Annotated[str | None, typer.Option(help="Replays of this handler.")] = None,
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Replays and how far they are, newest first."""
    from fastapi_events.cli.replays import list_replays

    told(list_replays(loaded(app), handler=handler, limit=min(limit, 1_000), as_json=as_json))


@replay.command()
def show(replay_id: IdArgument, app: AppOption = None, as_json: JsonOption = False) -> None:
    """One replay: what it is of, and how far it is."""
    from fastapi_events.cli.replays import show_replay

    told(show_replay(loaded(app), replay_id, as_json=as_json))


@replay.command()
def pause(
    replay_id: IdArgument,
    app: AppOption = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Begin no further event of a replay until it is resumed."""
    _change("pause", replay_id, app, reason, actor, as_json=as_json)


@replay.command()
def resume(
    replay_id: IdArgument,
    app: AppOption = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a paused replay go on where it was."""
    _change("resume", replay_id, app, reason, actor, as_json=as_json)


@replay.command()
def cancel(
    replay_id: IdArgument,
    app: AppOption = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """End a replay for good; what waits of it is discarded, its dead letters stay."""
    _change("cancel", replay_id, app, reason, actor, as_json=as_json, yes=yes)


def _change(
    act: Any, replay_id: str, app: str | None, reason: str, actor: str | None, *, as_json: bool, yes: bool = True
) -> None:
    from fastapi_events.api.dead_letter_actions import check_reason
    from fastapi_events.cli.replays import change_replay

    with errors_told():
        why = check_reason(reason)
    told(change_replay(loaded(app), replay_id, act, actor=acting_as(actor), reason=why, yes=yes, as_json=as_json))
