"""Leading an application's ``Events`` object, and its session makers, to the database of the tests."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from fastapi_events.errors import SettingsError
from fastapi_events.settings import EventsSettings
from fastapi_events.store.database import driver_url, sqlalchemy_url
from fastapi_events.testing.instance import Startable


@contextmanager
def led_to(
    events: Startable, url: str, *, running: bool = False, settings: Mapping[str, Any] | None = None
) -> Generator[None]:
    """For a block of code, let a stopped instance use the database of ``url``, in development.

    ``running`` lets it handle events by itself once it is started; else only ``drain_once()`` does. ``settings`` are
    further settings by keyword. Session makers are bound to new engines without a pool, which belong to no event loop,
    and to their own again afterwards. Raises ``SettingsError``.
    """
    before = events.settings
    changes: dict[str, Any] = {
        "database_url": driver_url(url),
        "listen_database_url": None,
        "pgbouncer": False,
        "auto_upgrade": True,
        "development": True,
        "enabled": running,
        **({"worker": "embedded"} if running else {}),
        **_checked(settings or {}),
    }
    with ExitStack() as stack:
        stack.callback(setattr, events, "settings", before)
        events.settings = before.model_copy(update=changes)
        _bind(stack, events.sessions, url, "asyncpg", create_async_engine)
        _bind(stack, events.sync_sessions, url, "psycopg", create_engine)
        yield


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    checked = EventsSettings(**{"enabled": True, "worker": "embedded", **settings})
    names = {name: "db_schema" if name == "schema" else name for name in settings}
    return {attribute: getattr(checked, attribute) for attribute in names.values()}


def _bind(stack: ExitStack, maker: Any, url: str, driver: str, make: Callable[..., Any]) -> None:
    if maker is None:
        return
    if maker.kw.get("binds"):
        raise SettingsError(
            "The session maker of this application chooses among several databases (binds=), which cannot be led to "
            "that of the tests by itself. Override the fixture prepared_events, and lead it there."
        )
    own = maker.kw.get("bind")
    stack.callback(maker.configure, bind=own)
    maker.configure(bind=make(_like(url, own, driver), poolclass=NullPool))


def _like(url: str, old: Any, driver: str) -> Any:
    """The URL with the driver that the maker's own engine has."""
    own = getattr(getattr(old, "url", None), "drivername", f"postgresql+{driver}")
    return make_url(sqlalchemy_url(url)).set(drivername=own)
