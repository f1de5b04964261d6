"""``fastapi-events dlq …``."""

from __future__ import annotations

from typing import Annotated, Literal

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

dead_letters = typer.Typer(help="Dead letters: look at them, redrive them, discard them.", no_args_is_help=True)
HandlerOption = Annotated[str | None, typer.Option("--handler", help="Those of this handler.")]
NameOption = Annotated[str | None, typer.Option("--name", help="Those of events of this name.")]
CauseOption = Annotated[str | None, typer.Option("--cause", help="Those of this cause, as 'dlq groups' shows it.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of deliveries.", show_default=False)]
BoundOption = Annotated[
    int, typer.Option("--limit", min=1, max=1_000_000, help="Change so many at most, oldest first.")
]
RateOption = Annotated[float, typer.Option("--rate", min=1, help="So many a second at most.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")]


@dead_letters.command("list")
def list_(
    app: AppOption = None,
    handler: HandlerOption = None,
    name: NameOption = None,
    cause: CauseOption = None,
    cursor: Annotated[str | None, typer.Option(help="Go on where a list ended.")] = None,
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Dead letters, newest first."""
    from fastapi_events.cli.dead_letters import list_dead_letters

    where = _filter(handler, name, cause)
    told(list_dead_letters(loaded(app), where, cursor=cursor, limit=limit, as_json=as_json))


@dead_letters.command()
def groups(app: AppOption = None, limit: LimitOption = 100, as_json: JsonOption = False) -> None:
    """Dead letters by handler and cause, the largest group first."""
    from fastapi_events.cli.dead_letters import list_groups

    told(list_groups(loaded(app), limit=limit, as_json=as_json))


@dead_letters.command()
def show(
    delivery_id: Annotated[str, typer.Argument(metavar="ID", help="The delivery's id.")],
    app: AppOption = None,
    show_payload: PayloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """One delivery: why it died, its attempts, its payload if asked for."""
    from fastapi_events.api.observe.filters import checked_id
    from fastapi_events.cli.dead_letters import show_dead_letter

    with errors_told():
        wanted = checked_id(delivery_id, "ID")
    told(show_dead_letter(loaded(app), wanted, show_payload=show_payload, as_json=as_json))


@dead_letters.command()
def redrive(
    ids: IdsArgument = None,
    app: AppOption = None,
    handler: HandlerOption = None,
    name: NameOption = None,
    cause: CauseOption = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    limit: BoundOption = 10_000,
    rate: RateOption = 500,
    actor: ActorOption = None,
    dry_run: DryOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try dead letters again, with a fresh budget of attempts: those named, or all that match."""
    where = _filter(handler, name, cause)
    _act("redrive", ids, app, where, reason, limit, rate, actor, dry_run, yes, as_json)


@dead_letters.command()
def discard(
    reason: Annotated[str, typer.Option(help="Why; it is kept with each of them.")],
    ids: IdsArgument = None,
    app: AppOption = None,
    handler: HandlerOption = None,
    name: NameOption = None,
    cause: CauseOption = None,
    limit: BoundOption = 10_000,
    rate: RateOption = 500,
    actor: ActorOption = None,
    dry_run: DryOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give dead letters up for good: those named, or all that match. What waits behind them goes on."""
    where = _filter(handler, name, cause)
    _act("discard", ids, app, where, reason, limit, rate, actor, dry_run, yes, as_json)


def _filter(handler: str | None, name: str | None, cause: str | None) -> str:
    with errors_told():
        return filter_of(
            None, [("--handler", "handler", handler), ("--name", "name", name), ("--cause", "cause", cause)]
        )


def _act(
    action: Literal["redrive", "discard"], ids: list[str] | None, app: str | None, where: str, reason: str, limit: int,
    rate: float, actor: str | None, dry_run: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    from fastapi_events.cli.acting import Plan, act, selected

    with errors_told():
        plan = Plan(
            action, selected(ids or [], where), reason=reason, actor=acting_as(actor), limit=limit, rate=rate
        )  # fmt: skip
    told(act(loaded(app), plan, dry_run=dry_run, yes=yes, as_json=as_json))
