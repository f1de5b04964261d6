"""``events consumers``: who reacts to an event, and where the application's source makes it."""

from __future__ import annotations

import sys
from typing import Any

from fastapi_events.cli.declared import (
    HANDLER_COLUMNS,
    Declared,
    declared_registry,
    find,
    handler_facts,
    shortened,
)
from fastapi_events.cli.sources import Publication, application_sources, own_modules, publications
from fastapi_events.cli.terminal import Column, print_json, print_table, say, say_hanging, title

CAVEAT = (
    "Found by reading the application's own source, which was not run: calls that construct the class through an "
    "import, and raw publishes by its name. What is made in other ways is not seen."
)
COLUMNS = (
    Column("HOW", lambda p: p.how),
    Column("WHERE", lambda p: shortened(p.where)),
    Column("FUNCTION", lambda p: p.function, wide=True),
)


def show_consumers(events: Any, name: str, *, as_json: bool) -> int:
    """Handlers, and places that publish."""
    one = find(events, name, None)
    published, read = _published(events, one)
    if as_json:
        print_json(
            {
                "name": one.options.name,
                "handlers": [handler_facts(handler) for handler in one.handlers],
                "publishers": published,
                "publishers_found_by": "source",
                "modules_read": read,
            }
        )
        return 0
    say(f"Handlers of {one.options.name}", style="bold")
    print_table(HANDLER_COLUMNS, one.handlers, empty="none in this application")
    title("Made in")
    print_table(COLUMNS, published, empty="no call was found")
    say()
    say_hanging("", f"{CAVEAT} {len(read)} module{'' if len(read) == 1 else 's'} read.")
    return 0


def _published(events: Any, one: Declared) -> tuple[list[Publication], list[str]]:
    named = {one.event_class.__module__, *_modules_of(events)}
    sources = application_sources(own_modules(named))
    target = f"{one.event_class.__module__}.{one.event_class.__qualname__}"
    return publications(sources, target, one.options.name), sorted(sources)


def _modules_of(events: Any) -> set[str]:
    """Modules that the application is made of: those with handlers, those with a ``Module``, and that of the object."""
    handlers = {handler.function.__module__ for handler in declared_registry(events).handlers.values()}
    parts = {id(module) for module in events.registry.modules}
    holders = {
        name
        for name, module in list(sys.modules.items())
        if name != "__main__" and any(id(value) in parts for value in list(getattr(module, "__dict__", {}).values()))
    }
    return handlers | holders
