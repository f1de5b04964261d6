"""How commands end: errors in a line or two, and an exit status."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import traceback
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any, NoReturn

import typer

from fastapi_events.cli.database_problems import DatabaseProblem
from fastapi_events.cli.loading import load_events
from fastapi_events.cli.terminal import clean
from fastapi_events.errors import EventsError, InvalidFilter

PROBLEM, USAGE = 1, 2
"""The exit status of what went wrong, and of a command that was called wrongly."""


@contextlib.contextmanager
def errors_told() -> Generator[None]:
    """Errors of the library, of the database and of the system are told in a line or two and end with status 1.

    A filter or an option that cannot be understood ends with status 2.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # who reads the output has seen enough; Typer ends quietly
    except (EventsError, DatabaseProblem, OSError) as error:
        # Whoever called a command wrongly needs no class of Python's, the less one that speaks of filters alone.
        plain = isinstance(error, (DatabaseProblem, InvalidFilter))
        told = str(error) if plain else f"{type(error).__name__}: {error}"
        fail(told, status=USAGE if isinstance(error, InvalidFilter) else PROBLEM, cause=error)


def fail(text: str, *, status: int = PROBLEM, cause: BaseException | None = None) -> NoReturn:
    """Say what is wrong and end."""
    typer.secho(clean(text, lines=True), fg="red", err=True)
    raise typer.Exit(status) from cause


def told(work: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a command and end with its status."""
    with errors_told():
        try:
            status = asyncio.run(work)
        except (EventsError, DatabaseProblem, OSError, typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if sys.flags.dev_mode:
                raise
            fail(
                f"{type(error).__name__}: {error}\nThis is a defect of the command, raised in {_place(error)}. "
                "With PYTHONDEVMODE=1 it shows its traceback."
            )
    raise typer.Exit(status)


def loaded(app: str | None) -> Any:
    """The ``Events`` object; an application that cannot be imported is told in a line that says where it broke."""
    with errors_told():
        try:
            return load_events(app)
        except (EventsError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - the application's own, whatever it is
            fail(import_problem(error))


def import_problem(error: BaseException) -> str:
    """What is said of an application that breaks when it is imported: the error, and the line of it that raised."""
    return f"{type(error).__name__}: {error}\nThe application could not be imported: it was raised in {_place(error)}."


def _place(error: BaseException) -> str:
    """Where the application's code was when it broke: the last place that is no library's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_foreign(frame.filename)]
    last = (own or frames)[-1]
    return f"{last.filename}:{last.lineno}"


def _is_foreign(filename: str) -> bool:
    parts = Path(filename).parts
    return filename.startswith("<") or "site-packages" in parts or Path(__file__).parents[1] in Path(filename).parents
