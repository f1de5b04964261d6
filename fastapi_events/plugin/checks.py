"""What is checked when an instance is made or started, beyond what its parts check themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NoReturn

from fastapi_events.engine.handlers import Handler
from fastapi_events.errors import DeclarationError, NotStarted, SettingsError
from fastapi_events.model.module import Module
from fastapi_events.settings import EventsSettings


class NotTheRouter(DeclarationError, AttributeError):
    """An ``Events`` object was given to FastAPI in place of its router. An ``AttributeError`` for ``hasattr`` too."""


def checked_modules(modules: Any) -> tuple[Module, ...]:
    """The modules of an instance; raises ``DeclarationError`` for anything else, naming it and what to write."""
    if isinstance(modules, Module):
        raise DeclarationError(
            f"Events(modules=...) takes a list of modules, not {_shown(modules)}. Put it in brackets."
        )
    if isinstance(modules, str) or not hasattr(modules, "__iter__"):
        raise DeclarationError(f"Events(modules=...) takes a list of modules, not {_shown(modules)}.")
    found = tuple(modules)
    for module in found:
        if not isinstance(module, Module):
            raise DeclarationError(f"Events(modules=[...]): {_shown(module)} is not a Module. {_module_hint(module)}")
    return found


def _module_hint(given: Any) -> str:
    if isinstance(given, ModuleType):
        names = [name for name, value in vars(given).items() if isinstance(value, Module)]
        return f"Import the Module in it: from {given.__name__} import {', '.join(names) or '…'}."
    return "Make one with Module('orders') and declare handlers with its .on(...)."


def _shown(given: object) -> str:
    if isinstance(given, Module):
        return f"the Module {given.name!r}"
    return f"the Python module {given.__name__}" if isinstance(given, ModuleType) else ascii(given)[:80]


def check_settings(settings: object) -> None:
    """Raise ``SettingsError`` for settings of another kind; their values stay unsaid, one may be a password."""
    if settings is not None and not isinstance(settings, EventsSettings):
        kind = type(settings).__name__
        hint = "EventsSettings(**{...})" if kind == "dict" else "EventsSettings(database_url=...)"
        raise SettingsError(f"Events(settings=...) takes an EventsSettings, not a {kind}. Write settings={hint}.")


def check_stopped(*, started: bool) -> None:
    """Raise ``SettingsError`` for an instance that is started: its events are somewhere already."""
    if started:
        raise SettingsError(
            "This Events instance is started, and keeps its events where it was started. Stop it first, or begin "
            "before the lifespan of the app: with in_memory(events), TestClient(app) as client:"
        )


def refuse_idle() -> NoReturn:
    """Raise ``NotStarted``: no service runs."""
    raise NotStarted(
        "This Events instance is not started. Include its router (app.include_router(events.router)) and let the "
        "lifespan run, or call await events.start(). The app's own lifespan begins before the router's: what needs the "
        "instance there belongs into async with events.lifespan()."
    )


def refuse_sync_session() -> NoReturn:
    """Raise ``SettingsError``: there is nothing to make a plain session of."""
    raise SettingsError("A sync session needs Events(sync_sessions=sessionmaker(engine)).")


def refuse_session() -> NoReturn:
    """Raise ``NotStarted``: there is nothing to make a session of."""
    raise NotStarted(
        "events.session() without Events(sessions=...) needs a started instance: await events.start(). The app's own "
        "lifespan begins before the router's: what needs a session there belongs into async with events.lifespan()."
    )


def check_change(settings: object, *, started: bool) -> None:
    """Raise ``SettingsError`` for settings that are none, or that nothing would come of any more."""
    check_settings(settings)
    if started or settings is None:
        raise SettingsError(
            "This Events instance has started with the settings that it had: await events.stop() before they change."
            if started
            else "Settings are replaced by an EventsSettings: events.settings = EventsSettings(...)."
        )


def check_attribute(name: str) -> None:
    """Raise ``NotTheRouter`` for an attribute that an ``Events`` object lacks and that FastAPI asks of a router."""
    fastapi = sys.modules.get("fastapi")
    if name == "routes" or (fastapi is not None and hasattr(fastapi.APIRouter, name)):
        raise NotTheRouter(
            f"An Events object is not a router and has no {name!r}. Include its router: "
            "app.include_router(events.router)."
        )


def check_makers(sessions: object, sync_sessions: object) -> None:
    """Raise ``SettingsError`` for what makes sessions in a way that handlers' sessions cannot be made like."""
    for name, maker, wanted in (
        ("sessions", sessions, "async_sessionmaker(engine)"),
        ("sync_sessions", sync_sessions, "sessionmaker(engine)"),
    ):
        if maker is not None and not (hasattr(maker, "class_") and hasattr(maker, "kw")):
            raise SettingsError(
                f"Events({name}={maker!r}): handlers' sessions are made like the application's own, which takes a "
                f"session maker to look at. Pass SQLAlchemy's {wanted}."
            )


def checked_prefix(prefix: Any) -> str:
    """The prefix as FastAPI takes it; raises ``SettingsError`` for one that cannot work."""
    if not isinstance(prefix, str) or not prefix.startswith("/") or prefix.endswith("/"):
        raise SettingsError(
            f"Events(prefix={prefix!r}): a prefix begins with '/' and does not end with one, e.g. '/events'."
        )
    return prefix


def checked_group(group: Any) -> str | None:
    """The name of the consumer group, if one is given; raises ``SettingsError`` for what the setting would refuse."""
    if group is None:
        return None
    try:
        if not isinstance(group, str):
            raise TypeError(f"it must be text, not a {type(group).__name__}")
        for rule in EventsSettings.model_fields["group"].metadata:
            rule.func(group)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"Events(group={ascii(group)[:80]}): {error}, e.g. group='orders'.") from None
    return group


def check_retention(handlers: Iterable[Handler], settings: EventsSettings) -> None:
    """Marks must outlive every retry, or a late one would apply its effects again."""
    for handler in handlers:
        if 0 < settings.processing_retention < handler.retry.longest_schedule:
            raise SettingsError(
                f"handler {handler.id!r} may be retried for up to {handler.retry.longest_schedule:g} s, but marks of "
                f"handled events are kept {settings.processing_retention:g} s. Raise EVENTS_PROCESSING_RETENTION, or "
                "lower the handler's max_attempts or backoff."
            )


def missing_extra(error: ModuleNotFoundError, *, what: str, extra: str, otherwise: str) -> SettingsError:
    """What is said when a part is used whose packages are not installed."""
    return SettingsError(
        f"{what} needs the extra {extra!r} ({error.name} is missing): pip install 'fastapi-events-pg[{extra}]', "
        f"or {otherwise}."
    )
