"""``fastapi-events events …``."""

from __future__ import annotations

from typing import Annotated

import typer

from fastapi_events.cli.filters import filter_of
from fastapi_events.cli.options import AppOption, JsonOption, LimitOption, PayloadOption
from fastapi_events.cli.telling import errors_told, loaded, told

events = typer.Typer(help="What the application declares, and what happened.", no_args_is_help=True)
NameArgument = Annotated[str, typer.Argument(help="The event's name, such as orders.order.placed.")]


@events.command("list")
def list_(app: AppOption = None, limit: LimitOption = 10_000, as_json: JsonOption = False) -> None:
    """Every event class of the application, and how many handlers take it. Needs no database."""
    from fastapi_events.cli.declared import list_events

    raise typer.Exit(list_events(loaded(app), limit=limit, as_json=as_json))


@events.command()
def show(
    name: NameArgument,
    app: AppOption = None,
    version: Annotated[int | None, typer.Option(help="Which version; else the newest.")] = None,
    as_json: JsonOption = False,
) -> None:
    """One event class: options, fields, JSON Schema, handlers. Needs no database."""
    from fastapi_events.cli.declared import show_event

    raise typer.Exit(show_event(loaded(app), name, version=version, as_json=as_json))


@events.command()
def consumers(name: NameArgument, app: AppOption = None, as_json: JsonOption = False) -> None:
    """Who reacts to an event, and where the application's source makes it. Needs no database."""
    from fastapi_events.cli.consumers import show_consumers

    raise typer.Exit(show_consumers(loaded(app), name, as_json=as_json))


@events.command()
def history(
    where: Annotated[
        str | None, typer.Argument(help="A filter as the JSON API has it: 'name:orders.* after:2h'.")
    ] = None,
    app: AppOption = None,
    name: Annotated[str | None, typer.Option(help="The event's name; * stands for anything.")] = None,
    state: Annotated[str | None, typer.Option(help="pending, waiting, dead, discarded or done.")] = None,
    handler: Annotated[str | None, typer.Option(help="Events that are for this handler.")] = None,
    aggregate: Annotated[str | None, typer.Option(help="order, or order/4711.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The event's id.")] = None,
    correlation: Annotated[str | None, typer.Option(help="A correlation id.")] = None,
    tenant: Annotated[str | None, typer.Option(help="A tenant's id.")] = None,
    since: Annotated[str | None, typer.Option(help="Published after: 2h, 7d, 2026-01-31, 2026-01-31T12:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="Published before.")] = None,
    before: Annotated[int | None, typer.Option(min=0, help="Go on below this position.")] = None,
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """What was published, newest first, and how its handlers stand."""
    from fastapi_events.cli.history import history as show_history

    given = [
        ("--name", "name", name), ("--state", "status", state), ("--handler", "handler", handler),
        ("--aggregate", "aggregate", aggregate), ("--id", "id", event_id), ("--tenant", "tenant", tenant),
        ("--correlation", "correlation", correlation), ("--since", "after", since), ("--until", "before", until),
    ]  # fmt: skip
    with errors_told():
        wanted = filter_of(where, given)
    told(show_history(loaded(app), wanted, before=before, limit=limit, as_json=as_json))


@events.command()
def inspect(
    event_id: Annotated[str, typer.Argument(help="The event's id.")],
    app: AppOption = None,
    show_payload: PayloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """One event: envelope, payload if asked for, deliveries and their attempts."""
    from fastapi_events.api.observe.filters import checked_id
    from fastapi_events.cli.history import inspect as inspect_event

    with errors_told():
        wanted = checked_id(event_id, "EVENT_ID")
    told(inspect_event(loaded(app), wanted, show_payload=show_payload, as_json=as_json))
