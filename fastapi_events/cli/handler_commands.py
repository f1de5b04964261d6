"""``fastapi-events handlers …``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastapi_events.cli.options import ActorOption, AppOption, JsonOption, LimitOption, YesOption, acting_as
from fastapi_events.cli.telling import errors_told, loaded, told

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
