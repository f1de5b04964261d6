"""What a process does with the embedded server: use it, and leave it."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from fastapi_events.embedded import guard
from fastapi_events.embedded.cluster import Cluster, run_apart
from fastapi_events.errors import SettingsError


def default_data() -> Path:
    """The data folder where none is given: ``fastapi-events/postgresql`` under the user's cache."""
    from platformdirs import user_cache_path

    return user_cache_path("fastapi-events") / "postgresql"


class EmbeddedServer:
    """One process's use of the server in a data folder.

    All methods block for up to some seconds (the first start makes the cluster): call them in a thread from
    asyncio. They are safe to call from several threads, and again.

        server = EmbeddedServer()
        url = await asyncio.to_thread(server.start)
        ...
        await asyncio.to_thread(server.stop)
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._folder: Path | None = None
        self._presence: int | None = None

    def start(self, data: Path | None = None, database: str = "events_app") -> str:
        """Start the server of ``data``, or join those that use it, and return a URL for ``database``.

        The database is created if it does not exist. The URL names a socket as a query parameter
        (``postgresql://postgres@/events_app?host=...``), which asyncpg, psycopg and SQLAlchemy understand. Data
        survive restarts; ``fsync`` is on. Called again, it starts a server that has died anew.

        Raises ``SettingsError`` if the binaries are not installed (extra ``embedded``) or the server does not start.
        """
        folder = (data or default_data()).expanduser().resolve()
        with self._mutex:
            if self._folder not in {None, folder}:
                raise SettingsError(f"This EmbeddedServer runs {self._folder}; stop it, or make another for {folder}.")
            if self._presence is None:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._enter(folder)
            try:
                return self._url(folder, database)
            except BaseException:
                self._leave()
                raise

    def stop(self) -> None:
        """Leave the server; if no other process uses it, return when it has stopped."""
        with self._mutex:
            self._leave()

    def restart(self, *, immediate: bool = False) -> None:
        """Stop the server under its users' feet and start it again; ``immediate`` is a crash that is then repaired."""
        with self._mutex:
            if self._folder is None:
                raise SettingsError("The embedded server is not started; call start() before restart().")
            with _locked(self._folder / "start.lock") as start_lock:
                guard.shut_down(self._folder, immediate=immediate)
                Cluster(self._folder).ensure_running(start_lock)

    def _url(self, folder: Path, database: str) -> str:
        cluster = Cluster(folder)
        with _locked(folder / "start.lock") as start_lock:
            _ensure_guard(folder)
            cluster.ensure_running(start_lock)
            cluster.ensure_database(database)
        return f"postgresql://postgres@/{quote(database, safe='')}?host={quote(str(cluster.socket_folder()))}"

    def _enter(self, folder: Path) -> None:
        users = guard.opened(folder / "users.lock")
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while the guard, or the last process out, stops the server
        self._folder, self._presence = folder, users

    def _leave(self) -> None:
        if self._presence is None or self._folder is None:
            return
        # Closed, not unlocked: a forked child shares the lock, and unlocking here would take it from the child.
        os.close(self._presence)
        folder, self._presence, self._folder = self._folder, None, None
        _stop_if_unused(folder)


def _stop_if_unused(folder: Path) -> None:
    try:
        users = guard.opened(folder / "users.lock", create=False)
    except FileNotFoundError:
        return  # deleted under the server, which notices that within a minute and ends
    try:
        if guard.taken(users):
            guard.shut_down(folder)
        elif not guard.taken(users, fcntl.LOCK_SH):
            fcntl.flock(users, fcntl.LOCK_SH)  # the guard is stopping it: wait, so that stop() keeps its word
    finally:
        os.close(users)


def _ensure_guard(folder: Path) -> None:
    lock = guard.opened(folder / "guard.lock")
    try:
        if guard.taken(lock):
            command = [sys.executable, "-I", "-S", guard.__file__, str(folder), str(lock)]
            run_apart(command, log=folder / "guard.log", keep=lock)
    finally:
        os.close(lock)


@contextmanager
def _locked(path: Path) -> Generator[int, None, None]:
    descriptor = guard.opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
