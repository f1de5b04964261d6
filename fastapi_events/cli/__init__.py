"""The command line: ``fastapi-events``."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point of the console script."""
    try:
        from fastapi_events.cli.commands import app
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"The command line needs the extra 'cli' ({error.name} is missing): pip install 'fastapi-events-pg[cli]'"
        ) from error
    app()
