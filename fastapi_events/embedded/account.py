"""The system account that the server runs under: one's own, or, as PostgreSQL refuses to run as root, another."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi_events.errors import SettingsError

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """Whose files the server's are; ``borrowed`` says that it is not the account of this process."""

    uid: int
    gid: int
    borrowed: bool

    @property
    def subprocess_options(self) -> dict[str, Any]:
        """What makes ``subprocess`` run a program under this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if self.borrowed else {}

    def own(self, folder: Path) -> None:
        """Make ``folder``, which exists, this account's alone."""
        folder.chmod(0o700)
        if self.borrowed:
            os.chown(folder, self.uid, self.gid)

    def reach(self, path: Path) -> None:
        """Let this account pass through the folders above ``path``; they do not become listable.

        Changes what stays after the server: every folder above ``path``, up to the root, is made passable for all
        accounts (``chmod o+x``), ``/root`` and ``/root/.cache`` for example. Who knows the name of a file below may
        then open it, if its own mode allows. Does nothing unless the account is borrowed.
        """
        for folder in path.parents if self.borrowed else ():
            mode = folder.stat().st_mode
            if not mode & stat.S_IXOTH:
                folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def account_for(cluster: Path) -> Account:
    """The account that owns ``cluster``, or, if it is still to be made, the one that shall."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), borrowed=False)
    if cluster.exists():
        owner = cluster.stat()
        return Account(owner.st_uid, owner.st_gid, borrowed=True)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid, borrowed=True)
    raise SettingsError(
        "PostgreSQL refuses to run as root, and neither of the accounts 'postgres' and 'nobody' exists. Start the app "
        "as another user, or give the address of a server (EVENTS_DATABASE_URL=postgresql://...)."
    )
