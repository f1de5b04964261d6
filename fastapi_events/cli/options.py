"""Options that several commands have."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

AppOption = Annotated[
    str | None,
    typer.Option(
        # Rich takes a bare bracket for markup, and prints nothing.
        "--app",
        help="module:attribute of the Events object (else EVENTS_APP, else \\[tool.fastapi_events] app).",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--database-url", help="Else EVENTS_DATABASE_URL, else the database of the app's sessions."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts, with the names of the JSON API.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Rows at most.")]
ActorOption = Annotated[
    str | None, typer.Option("--actor", help="Who does it, for the record; else cli:USER of this machine.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
PayloadOption = Annotated[
    bool, typer.Option("--show-payload", help="Show payload and headers too; secrets stay hidden.")
]


def acting_as(actor: str | None) -> str:
    """The actor of an action: as given, else the account that runs the command."""
    if actor is not None:
        return actor
    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):  # an account without a name, as in a container
        return "cli:unknown"
