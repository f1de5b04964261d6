"""``events list`` and ``events show``: what the application declares. No database is asked."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fastapi_events.cli.telling import fail
from fastapi_events.cli.terminal import Column, clean, print_facts, print_json, print_table, say, title
from fastapi_events.errors import DuplicateEvent
from fastapi_events.model.event import Event, EventOptions, importable_classes, options_of
from fastapi_events.model.module import HandlerDeclaration
from fastapi_events.model.names import is_pattern
from fastapi_events.model.registry import Registry


@dataclass(frozen=True, slots=True)
class Declared:
    """An event class, where it is, and who handles it."""

    event_class: type[Event]
    options: EventOptions
    where: str
    handlers: tuple[HandlerDeclaration, ...]

    @property
    def direction(self) -> str | None:
        """Its direction; None for an audit event, which no lane carries."""
        return None if self.options.tier == "audit" else self.options.direction

    def summary(self) -> dict[str, Any]:
        """What a list says of it."""
        return {
            "name": self.options.name,
            "version": self.options.version,
            "direction": self.direction,
            "tier": self.options.tier,
            "aggregate": self.options.aggregate,
            "class": f"{self.event_class.__module__}.{self.event_class.__qualname__}",
            "where": self.where,
            "handlers": len(self.handlers),
        }


COLUMNS = (
    Column("NAME", lambda d: d.options.name),
    Column("VERSION", lambda d: d.options.version, right=True),
    Column("DIRECTION", lambda d: d.direction),
    Column("TIER", lambda d: d.options.tier),
    Column("HANDLERS", lambda d: len(d.handlers), right=True),
    Column("AGGREGATE", lambda d: d.options.aggregate, wide=True),
    Column("CLASS", lambda d: d.event_class.__qualname__, wide=True),
    Column("WHERE", lambda d: shortened(d.where), wide=True),
)


def declared_registry(events: Any) -> Registry:
    """The application's registry, with the classes that it declares and nobody has handled or published yet."""
    registry = Registry(events.registry.modules)
    for event_class in importable_classes():
        try:
            registry.learn(event_class)
        except DuplicateEvent:  # of another application in the same process: the handlers' own wins
            continue
    return registry


def declared_events(events: Any) -> list[Declared]:
    """Every event class of the loaded modules, by name and version."""
    registry = declared_registry(events)
    found: list[Declared] = []
    for (name, _), event_class in sorted(registry.event_classes.items()):
        options = options_of(event_class)
        if options is not None:
            handlers = registry.handlers_for(name, audit=options.tier == "audit")
            found.append(Declared(event_class, options, place_of(event_class), tuple(handlers)))
    return found


def list_events(events: Any, *, limit: int, as_json: bool) -> int:
    """The registry."""
    found = declared_events(events)[:limit]
    if as_json:
        print_json([one.summary() for one in found])
    else:
        print_table(COLUMNS, found, empty="The application declares no event.")
    return 0


def find(events: Any, name: str, version: int | None) -> Declared:
    """The newest version of an event, or the one asked for; ends the command if there is none."""
    known = declared_events(events)
    same = [one for one in known if one.options.name == name.replace(":", ".", 1)]
    found = next((one for one in reversed(same) if version in (None, one.options.version)), None)
    if found is None:
        fail(_unknown(name, version, same))
    return found


def _unknown(name: str, version: int | None, same: list[Declared]) -> str:
    if not same:
        return f"The application declares no event {name!r}. 'fastapi-events events list' shows those there are."
    return f"{name} has no version {version}; there is {', '.join(str(one.options.version) for one in same)}."


def show_event(events: Any, name: str, *, version: int | None, as_json: bool) -> int:
    """One event class, whole."""
    one = find(events, name, version)
    options = _options(one.options) | {"direction": one.direction}
    doc = inspect.cleandoc(one.event_class.__doc__) if one.event_class.__doc__ else None
    json_schema = one.event_class.model_json_schema()
    if as_json:
        handlers = [handler_facts(handler) for handler in one.handlers]
        more = {"options": options, "description": one.options.description or doc, "json_schema": json_schema}
        print_json({**one.summary(), **more, "handlers": handlers})
        return 0
    summary = one.summary()
    print_facts((key, summary[key]) for key in ("name", "version", "class", "where"))
    if one.options.description or doc:
        title("Description")
        say(clean(one.options.description or doc, lines=True))
    title("Options")
    print_facts(((key, value) for key, value in options.items() if key not in ("name", "version")), indent="  ")
    title("Fields")
    print_facts(((key, _type(info)) for key, info in one.event_class.model_fields.items()), indent="  ")
    title("Handlers")
    print_table(HANDLER_COLUMNS, one.handlers, empty="none in this application")
    title("JSON Schema")
    print_json(json_schema)
    return 0


def handler_facts(handler: HandlerDeclaration) -> dict[str, Any]:
    """What is said of a handler that takes an event."""
    return {
        "id": handler.id,
        "kind": handler_kind(handler),
        "job": handler.job,
        "by": selected_by(handler),
        "batch": handler.batch,
        "selects": handler.selects,
        "where": handler.where,
    }


def handler_kind(handler: HandlerDeclaration) -> str:
    """How a handler is called: ``broadcast`` in every process, with a ``batch``, or ``durable`` for each event.

    A ``trigger`` is none of the application's functions: it starts runs of a job.
    """
    if handler.job is not None:
        return "trigger"
    if handler.broadcast:
        return "broadcast"
    return "durable" if handler.batch is None else "batch"


def selected_by(handler: HandlerDeclaration) -> str:
    """How a handler selects its events: by ``class``, by ``name`` or by a ``wildcard``."""
    if handler.event_class is not None:
        return "class"
    return "wildcard" if is_pattern(handler.selects) else "name"


HANDLER_COLUMNS = (
    Column("HANDLER", lambda h: h.id, whole=True),
    Column("KIND", lambda h: handler_kind(h) if h.job is None else f"trigger of {h.job}"),
    Column("BY", selected_by),
    Column("WHERE", lambda h: shortened(h.where)),
    Column("SELECTS", lambda h: h.selects, wide=True),
)


def place_of(event_class: type[Event]) -> str:
    """File and line of a class."""
    try:
        return f"{inspect.getsourcefile(event_class)}:{inspect.getsourcelines(event_class)[1]}"
    except (OSError, TypeError):
        return event_class.__module__


def shortened(where: str) -> str:
    """A place as seen from the current folder."""
    return where.removeprefix(f"{Path.cwd()}/")


def _options(options: EventOptions) -> dict[str, Any]:
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    if options.retry is not None:
        values["retry"] = str(asdict(options.retry))
    return values


def _type(info: Any) -> str:
    kind = info.annotation
    named = kind.__name__ if isinstance(kind, type) and not getattr(kind, "__args__", ()) else str(kind)
    return named if info.is_required() else f"{named}, optional"
