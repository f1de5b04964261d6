"""Asking before something is changed."""

from __future__ import annotations

import sys

import typer

from fastapi_events.cli.telling import USAGE, fail
from fastapi_events.cli.terminal import clean, note


def agreed(question: str, *, yes: bool) -> bool:
    """Whether to go on: by ``--yes``, else by asking; ends the command where nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        fail(f"{question} Nobody can be asked here, as the input is no terminal: say --yes.", status=USAGE)
    if typer.confirm(clean(question), err=True):
        return True
    note("Nothing was changed.")
    return False
