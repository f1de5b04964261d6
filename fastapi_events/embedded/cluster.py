"""One data folder's server: made, started, asked whether it answers."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fastapi_events.embedded import binaries, guard
from fastapi_events.embedded.account import Account, account_for
from fastapi_events.errors import SettingsError

_SOCKET = ".s.PGSQL.5432"
_LONGEST_SOCKET = 103  # bytes: macOS takes 104 and Linux 108, one of them for the closing NUL
_START_TIMEOUT = 300.0  # a crash recovery may have much to repair
_MAX_CONNECTIONS = 200


class Cluster:
    """The server in ``folder``; every method expects that ``start.lock`` is held by the caller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "cluster"
        self.log = self.data / "server.log"

    def ensure_running(self, start_lock: int) -> None:
        """Make the cluster if need be, start its server if it does not answer, return when it does."""
        if not self.data.exists():
            self._create(start_lock)
        deadline = time.monotonic() + _START_TIMEOUT
        launched = False
        while not self.answers():
            server = guard.opened(self.folder / "postgres.lock")
            try:
                free = guard.taken(server)
                if free and launched:
                    raise self._failure("the server ended while it started")
                if free:
                    self._launch(server)
                    launched = True
            finally:
                os.close(server)
            if time.monotonic() > deadline:
                raise self._failure(f"the server did not answer within {_START_TIMEOUT:g} s")
            time.sleep(0.02)

    def ensure_database(self, name: str) -> None:
        """Create the database unless it exists."""
        programs = binaries.matching(self._version())
        connection = ["--host", str(self.socket_folder()), "--port", "5432", "--username", "postgres", "--no-password"]
        done = self._run([programs["createdb"], *connection, "--maintenance-db", "postgres", "--", name])
        if done.returncode and "already exists" not in done.stderr:
            raise self._failure(f"createdb {name}: {done.stderr.strip()}")

    def answers(self) -> bool:
        """Whether the server accepts connections now."""
        state = self._postmaster()
        if state.get("status") != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(f"{state['socket']}/{_SOCKET}")
            except OSError:
                return False
        return True

    def socket_folder(self) -> Path:
        """Where the running server listens."""
        return Path(self._postmaster()["socket"])

    def _create(self, start_lock: int) -> None:
        account, programs, new = account_for(self.data), binaries.newest(), self.folder / "cluster.new"
        if new.exists():
            shutil.rmtree(new)  # left by a process that was killed; start.lock says that nobody works on it
        new.mkdir()
        account.own(new)
        account.reach(new)
        account.reach(programs.folder / "initdb")
        collation = ["--locale=C"] if programs.version < 17 else ["--locale-provider=builtin", "--locale=C.UTF-8"]
        login = ["--username=postgres", "--auth=trust"]  # the folder of the socket is the owner's alone
        command = [programs["initdb"], f"--pgdata={new}", "--encoding=UTF8", *collation, *login]
        done = self._run(command, account, keep=[start_lock])
        if done.returncode:
            raise self._failure(f"initdb: {done.stderr.strip()}")
        new.rename(self.data)

    def _launch(self, server_lock: int) -> None:
        """Start the server in a session of its own; it holds ``server_lock`` until its last process has gone."""
        account, programs = account_for(self.data), binaries.matching(self._version())
        account.reach(self.data)
        account.reach(programs.folder / "postgres")
        self._forget_dead_server()
        options: Mapping[str, str | int | Path] = {
            "listen_addresses": "",
            "unix_socket_directories": self._usable_socket_folder(account),
            "unix_socket_permissions": "0700",
            "port": 5432,
            "max_connections": _MAX_CONNECTIONS,
        }
        command = [
            programs["postgres"],
            "-D",
            str(self.data),
            *(f"--{name}={value}" for name, value in options.items()),
        ]
        run_apart(command, log=self.log, keep=server_lock, account=account)

    def _forget_dead_server(self) -> None:
        """Remove what a server that was killed left, where PostgreSQL itself would take it for running.

        It does so if the process id is another program's now, or if nobody has reaped the dead process, as in a
        container whose first process is no init.
        """
        state = self._postmaster()
        if "socket" in state and not _runs_postgres(state["pid"]):
            Path(state["socket"], f"{_SOCKET}.lock").unlink(missing_ok=True)
            (self.data / "postmaster.pid").unlink()

    def _usable_socket_folder(self, account: Account) -> Path:
        """The data folder, or, where its path is too long or not plain, a private one for temporary files."""
        fits = len(os.fsencode(self.data / _SOCKET)) <= _LONGEST_SOCKET
        if fits and re.fullmatch(r"[\w/.+-]+", str(self.data), re.ASCII):
            return self.data
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        name = f"fastapi-events-{os.geteuid()}-{digest}"
        parent = Path(tempfile.gettempdir())
        if len(os.fsencode(parent / name / _SOCKET)) > _LONGEST_SOCKET:
            parent = Path("/tmp")  # noqa: S108 - private and checked below
        private = parent / name
        with suppress(FileExistsError):  # ours of an earlier start, as a rule
            private.mkdir(mode=0o700)
        found = private.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), account.uid}:
            raise self._failure(f"{private}, meant for its socket, belongs to somebody else: remove it")
        account.own(private)
        account.reach(private)
        return private

    def _version(self) -> int:
        return int((self.data / "PG_VERSION").read_text())

    def _postmaster(self) -> dict[str, str]:
        """What the server says of itself in ``postmaster.pid``; empty while there is none."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return {}
        names = ("pid", "data", "started", "port", "socket", "address", "memory", "status")
        return {name: line.strip() for name, line in zip(names, lines, strict=False)}

    def _run(
        self, command: Sequence[str], account: Account | None = None, keep: Sequence[int] = ()
    ) -> subprocess.CompletedProcess[str]:
        options = account.subprocess_options if account is not None else {}
        return subprocess.run(  # noqa: S603 - our own programs and arguments
            command, check=False, capture_output=True, text=True, cwd="/", env=environment(), pass_fds=keep, **options
        )

    def _failure(self, reason: str) -> SettingsError:
        log = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
        return SettingsError(
            f"The embedded PostgreSQL in {self.folder} cannot be used: {reason}. Set EVENTS_EMBEDDED_DATA to another "
            f"folder, or give the address of a server (EVENTS_DATABASE_URL=postgresql://...).\n{log}".rstrip()
        )


def _runs_postgres(pid: str) -> bool:
    if Path("/proc/self/cmdline").exists():
        command = Path("/proc", pid, "cmdline")  # empty if the process is dead and not reaped
        return command.exists() and b"postgres" in command.read_bytes()
    listed = subprocess.run(["ps", "-o", "stat=,command=", "-p", pid], check=False, capture_output=True, text=True)  # noqa: S603, S607
    return "postgres" in listed.stdout and not listed.stdout.lstrip().startswith("Z")


def environment() -> dict[str, str]:
    """This process's environment without what would lead PostgreSQL's programs elsewhere."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return kept | {"LC_ALL": "C"}


def run_apart(command: Sequence[str], *, log: Path, keep: int, account: Account | None = None) -> None:
    """Start ``command`` as nobody's child, in a session of its own; the descriptor ``keep`` stays open in it."""
    options = account.subprocess_options if account is not None else {}
    subprocess.run(  # noqa: S603 - our own programs and arguments
        ["/bin/sh", "-c", 'exec </dev/null >>"$1" 2>&1; shift; "$@" &', "sh", str(log), *command],
        check=True,
        cwd="/",
        env=environment(),
        pass_fds=[keep],
        start_new_session=True,
        **options,
    )
