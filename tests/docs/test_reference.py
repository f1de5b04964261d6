"""The reference pages say what the code says."""

import inspect
import re
from typing import Any, get_args

import typer.main

import fastapi_events
from fastapi_events import Events, EventsSettings, Retry, errors, exponential, fixed, linear, testing
from fastapi_events.cli.commands import app as command_line
from fastapi_events.model import event
from fastapi_events.model.delivery import DeadReason, Delivery, WaitReason
from tests.docs.pages import page_names, text_of
from tests.docs.reference_tables import settings_table


def test_settings_table_is_that_of_the_code() -> None:
    """If this fails: ``python -m tests.docs.reference_tables`` prints the table to paste."""
    assert settings_table() in text_of("docs/reference/settings.md")


def test_every_command_and_option_is_shown() -> None:
    page, found = text_of("docs/reference/cli.md"), leaves(typer.main.get_command(command_line), "fastapi-events")
    assert len(found) > 5
    assert "`fastapi-events --version`" in page
    for path, command in found:
        line = next((line for line in page.splitlines() if line.startswith(f"| `{path}")), "")
        assert line, f"{path} is not on the page"
        for parameter in command.params:
            shown = parameter.opts[0]
            known = shown in {"--app", "--database-url", "--help", "--json"} or parameter.param_type_name == "argument"
            assert known or shown in line, f"{path} {shown}"


def leaves(command: Any, path: str) -> list[tuple[str, Any]]:
    """The commands that are no groups; Typer carries a Click of its own, so they are known by what they have."""
    if hasattr(command, "commands"):
        return [leaf for name, inner in command.commands.items() for leaf in leaves(inner, f"{path} {name}")]
    return [(path, command)]


def test_error_tree_and_mends() -> None:
    page = text_of("docs/reference/errors.md")
    assert errors.__doc__
    assert errors.__doc__.partition("\n\n")[2].strip() in page
    for name, kind in vars(errors).items():
        if (
            isinstance(kind, type)
            and issubclass(kind, errors.EventsError)
            and kind not in {errors.EventsError, errors.Steering}
        ):
            assert re.search(rf"^\| [^|]*`{name}`", page, re.MULTILINE), f"{name} has no row"


def test_every_route_is_shown() -> None:
    page = text_of("docs/reference/http-api.md")
    events = Events(settings=EventsSettings(development=True), include_in_schema=True)
    from fastapi import FastAPI
    from fastapi.routing import iter_route_contexts

    app = FastAPI()
    app.include_router(events.router)
    shown = [
        f"`{verb} {context.path}`"
        for context in iter_route_contexts(app.routes)
        for verb in getattr(context, "methods", None) or ()
        if context.path.startswith(("/events/api", "/events/health"))
    ]
    assert len(shown) >= 12
    assert not [route for route in shown if route not in page]


def test_options_are_all_named() -> None:
    handlers, events = text_of("docs/reference/handlers.md"), text_of("docs/reference/events.md")
    assert not [name for name in Delivery.__dataclass_fields__ if f"`{name}`" not in handlers]
    assert not [name for name in event.OPTION_NAMES if f"`{name}`" not in events]
    given = [*Events.on.__kwdefaults__, *inspect.signature(Events).parameters]
    assert not [name for name in given if f"| `{name}` |" not in handlers]
    jobs, job = text_of("docs/reference/jobs.md"), inspect.signature(Events.job).parameters
    assert not [name for name in job if name not in ("self", "unknown") and f"| `{name}` |" not in jobs]
    every = inspect.signature(Events.every).parameters
    assert not [name for name in every if name not in ("self", "unknown") and f"| `{name}` |" not in jobs]


def test_every_reason_is_explained() -> None:
    page = text_of("docs/reference/handlers.md")
    assert not [reason for reason in (*get_args(DeadReason), *get_args(WaitReason)) if f"| `{reason}` |" not in page]


def test_every_public_name_is_somewhere() -> None:
    pages = "\n".join(text_of(page) for page in page_names())
    for package in (fastapi_events, testing):
        assert not [name for name in package.__all__ if not re.search(rf"\b{name}\b", pages)]


def test_defaults_of_retries() -> None:
    page = text_of("docs/reference/handlers.md")
    assert "`Retry(max_attempts=3, backoff=exponential(), retry_on=Exception, give_up_on=())`" in page
    assert (Retry().max_attempts, Retry().backoff, Retry().retry_on, Retry().give_up_on) == (
        3,
        exponential(),
        Exception,
        (),
    )
    assert (exponential().first, exponential().cap, exponential().jitter) == (1, 3600, True)
    assert (linear().first, linear().cap, linear().jitter) == (1, 3600, False)
    assert fixed(5).jitter is False
