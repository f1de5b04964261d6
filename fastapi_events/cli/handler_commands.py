"""``fastapi-events handlers …``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastapi_events.cli.options import ActorOption, AppOption, JsonOption, LimitOption, YesOption, acting_as
from fastapi_events.cli.telling import loaded, told

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
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    actor: ActorOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Give a handler that has gone from the code no new deliveries; what waits or is dead stays."""
    from fastapi_events.cli.handlers import retire_handler

    events = loaded(app)
    told(
        retire_handler(
            events, handler, force=force, reason=reason, actor=acting_as(actor), yes=yes, as_json=as_json
        )
    )  # fmt: skip
