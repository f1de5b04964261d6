"""``fastapi-events pools …``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastapi_events.cli.options import ActorOption, AppOption, JsonOption, acting_as
from fastapi_events.cli.telling import errors_told, loaded, told

pools = typer.Typer(help="Pools: how much is done at once, changed while processes run.", no_args_is_help=True)
_Pool = Annotated[str, typer.Argument(help="The pool's name, as 'pools list' has it.")]
_Reason = Annotated[str, typer.Option(help="Why, for the record.")]


@pools.command("list")
def list_(app: AppOption = None, as_json: JsonOption = False) -> None:
    """The pools, reserved ones included: how much at once, in how many processes, and what is at work."""
    from fastapi_events.cli.job_kinds import list_pools

    told(list_pools(loaded(app), reserved=True, as_json=as_json))


@pools.command("set")
def set_(
    pool: _Pool,
    concurrency: Annotated[int, typer.Argument(min=1, max=10_000, help="How many at once in each process.")],
    app: AppOption = None, reason: _Reason = "", actor: ActorOption = None, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Have so many of a pool at work at once in each process, whatever its settings say, until it is reset."""
    _say(pool, concurrency, app, reason, actor, as_json=as_json)


@pools.command()
def reset(
    pool: _Pool, app: AppOption = None, reason: _Reason = "", actor: ActorOption = None, as_json: JsonOption = False
) -> None:
    """Have the number of each process's settings hold again."""
    _say(pool, None, app, reason, actor, as_json=as_json)


def _say(pool: str, number: int | None, app: str | None, reason: str, actor: str | None, *, as_json: bool) -> None:
    from fastapi_events.api.dead_letter_actions import check_reason
    from fastapi_events.cli.pools import resize_pool

    with errors_told():
        why = check_reason(reason)
    told(resize_pool(loaded(app), pool, number, actor=acting_as(actor), reason=why, as_json=as_json))
