"""``fastapi-events groups …``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastapi_events.cli.options import ActorOption, AppOption, JsonOption, LimitOption, YesOption, acting_as
from fastapi_events.cli.telling import errors_told, loaded, told

groups = typer.Typer(help="The consumer groups of the database, of every service.", no_args_is_help=True)


@groups.command("list")
def list_(app: AppOption = None, limit: LimitOption = 1_000, as_json: JsonOption = False) -> None:
    """Every group: its handlers, its live processes, and since when the log is kept for it beyond its age."""
    from fastapi_events.cli.groups import list_groups

    told(list_groups(loaded(app), limit=limit, as_json=as_json))


@groups.command()
def remove(
    name: Annotated[str, typer.Argument(help="The group's name.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    app: AppOption = None,
    actor: ActorOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """End a group that has no process any more: nothing is kept for it, and what waits for it is given up for good."""
    from fastapi_events.api.dead_letter_actions import check_reason
    from fastapi_events.cli.groups import remove_group

    with errors_told():
        given = check_reason(reason, needed=True)
    told(remove_group(loaded(app), name, actor=acting_as(actor), reason=given, yes=yes, as_json=as_json))
