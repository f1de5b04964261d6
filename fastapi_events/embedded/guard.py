"""The guard: waits until no process uses the server, then stops it.

Run as a script, by path, with nothing but the standard library, so that it is small and starts at once. The lock file
that says that a guard is there is inherited, its descriptor being the second argument.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

GRACE = 60.0
"""Seconds for a fast shutdown (which writes a checkpoint); after it an immediate one, repaired at the next start."""


def opened(path: Path, *, create: bool = True) -> int:
    """A descriptor of a lock file, which is created if need be; closing it gives the lock back."""
    return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)


def taken(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the lock if that is possible at once, and say whether it was."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def shut_down(folder: Path, *, immediate: bool = False) -> None:
    """Stop the server of ``folder`` and return when its last process has gone; does nothing if there is none."""
    deadline = time.monotonic() + GRACE
    wanted = signal.SIGQUIT if immediate else signal.SIGINT
    sent: signal.Signals | None = None
    try:
        server = opened(folder / "postgres.lock", create=False)
    except FileNotFoundError:
        return  # never started, or deleted: nothing must appear in a folder that somebody is removing
    try:
        while not taken(server):
            if time.monotonic() > deadline:
                wanted = signal.SIGQUIT
            if sent is not wanted and _send(folder, wanted):
                sent = wanted
            time.sleep(0.01)
    finally:
        os.close(server)


def _send(folder: Path, wanted: signal.Signals) -> bool:
    try:
        first_line = (folder / "cluster" / "postmaster.pid").read_text().partition("\n")[0]
        os.kill(int(first_line), wanted)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False  # it is just starting, or has gone
    return True


def watch(folder: Path, guard: int) -> None:
    """Wait for the last user of ``folder`` to leave, and stop the server."""
    try:
        users = opened(folder / "users.lock", create=False)
    except FileNotFoundError:
        return
    fcntl.flock(users, fcntl.LOCK_EX)
    shut_down(folder)
    os.close(guard)  # before a newcomer can enter: it then starts a guard of its own
    os.close(users)


if __name__ == "__main__":
    watch(Path(sys.argv[1]), int(sys.argv[2]))
