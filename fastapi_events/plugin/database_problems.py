"""What a database error is to people: where it happened, what the server said, and the mend."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from fastapi_events.plugin.locating import bind_url
from fastapi_events.settings import EventsSettings, redacted
from fastapi_events.store.database import driver_url

_ERRORS = (asyncpg.PostgresError, asyncpg.exceptions.ClientConfigurationError, asyncpg.InternalClientError, OSError)
_NO_RIGHTS = "42501"
_NOT_READY = "The server is not ready for this now; try again."


class DatabaseProblem(Exception):
    """The database did not do what was asked of it; the message is for people and holds no password."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database's URL (None: the embedded server's own), and where it was read, which is where to correct it."""

    url: str | None
    source: str

    @property
    def place(self) -> str:
        """Host, port, database and role; what the URL leaves out is as PostgreSQL's clients fill it in."""
        if self.url is None:
            return "the embedded server"
        parts = urlsplit(driver_url(self.url))
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        host = unquote(parts.hostname or query.get("host") or "localhost")
        role, database = unquote(parts.username or query.get("user", "")), unquote(parts.path.lstrip("/"))
        told = [f"{host}:{parts.port or query.get('port', 5432)}"]
        told += [f"database {database!r}"] if database else []
        told += [f"role {role!r}"] if role else []
        return ", ".join(told)


def address_of(settings: EventsSettings, events: Any = None, *, given: bool = False) -> Address:
    """Where the events live, as ``locate`` finds it; ``given`` says that the URL came by ``--database-url``."""
    if settings.database_url not in (None, "embedded"):
        return Address(settings.database_url, "--database-url" if given else "database_url (EVENTS_DATABASE_URL)")
    url = None
    if settings.database_url is None and events is not None:
        url = bind_url(events.sessions) or bind_url(events.sync_sessions)
    return Address(url, "the engine of the application's sessions" if url else "EVENTS_EMBEDDED_DATA")


@contextlib.contextmanager
def database_problems(address: Address, *, owner: bool = False) -> Generator[None]:
    """Raise ``DatabaseProblem`` for what people can mend; a statement that is wrong is a defect, and stays as it is.

    ``owner`` says that the work is that of the schema's owner.
    """
    try:
        yield
    except _ERRORS as error:
        told = _told(error, address, owner=owner)
        if told is None:
            raise
        raise DatabaseProblem(told) from error


def note_problem(error: BaseException, events: Any) -> None:
    """Add to an error of an instance's start the two lines that the command line would print."""
    if isinstance(error, _ERRORS):
        told = _told(error, address_of(events.settings, events), owner=False)
        if told is not None:
            error.add_note(told)


def _told(error: BaseException, address: Address, *, owner: bool) -> str | None:
    """What happened where, and the mend; None for what people cannot mend."""
    mend = _mend(error, address, owner=owner)
    if mend is None or not _from_driver(error):
        return None
    said = redacted(str(error).strip().split("\n", 1)[0]).rstrip(".") or "no answer in time"
    return f"{_happened(error)} ({address.place}): {said}.\n{mend}"


def _happened(error: BaseException) -> str:
    if isinstance(error, OSError):
        return "The database cannot be reached"
    return "The database refused" if isinstance(error, asyncpg.PostgresError) else "No connection to the database"


def _mend(error: BaseException, address: Address, *, owner: bool) -> str | None:
    if isinstance(error, OSError):
        return f"Start PostgreSQL there, or correct {address.source}."
    if not isinstance(error, asyncpg.PostgresError):
        return f"Correct {address.source}."
    state = str(getattr(error, "sqlstate", None) or "")
    if state == _NO_RIGHTS and owner:
        return "Run this as the schema's owner, or, to make the schema, as a role that may create in this database."
    by_state = {
        _NO_RIGHTS: "As the schema's owner, run 'fastapi-events db grant ROLE' for this role.",
        "3D000": f"Create the database (createdb), or correct {address.source}.",
        "3F000": "Run 'fastapi-events db upgrade' first, or correct EVENTS_SCHEMA.",
        "42704": "Correct the name, or make the role first (createuser).",
        "25006": f"It is a standby: give the primary's address in {address.source}.",
    }
    by_class = {
        "28": f"Correct the role or its password in {address.source}, or let the server admit it (pg_hba.conf).",
        **dict.fromkeys(("08", "40", "53", "55", "57"), _NOT_READY),
    }
    return by_state.get(state) or by_class.get(state[:2])


def _from_driver(error: BaseException) -> bool:
    """Whether asyncpg raised it, or what it called: a missing file of someone else's says nothing of the database."""
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__", "").startswith("asyncpg."):
            return True
        traceback = traceback.tb_next
    return type(error).__module__.startswith("asyncpg")
