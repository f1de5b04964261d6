"""A PostgreSQL server for development, tests and demonstrations, from binaries of the package index.

Any number of processes of one user share the server of a data folder. Four lock files in that folder, released by
the kernel when a process ends in whatever way, hold the truth; process ids, which outlive their processes, do not:

    users.lock     shared by every process that uses the server
    start.lock     held while one process creates or starts it
    postgres.lock  inherited, and so held, by every process of the server itself
    guard.lock     held by the guard, a small process that waits for users.lock to be free and then stops the server

The last process out stops the server itself if it ends in an orderly way; the guard does it after a ``kill -9``.
"""

import sys

from fastapi_events.errors import SettingsError

if sys.platform == "win32":
    raise SettingsError(
        "The embedded PostgreSQL runs on Linux and macOS only. Give the address of a PostgreSQL server "
        "(EVENTS_DATABASE_URL=postgresql://...), or run the app in WSL."
    )

from fastapi_events.embedded.server import EmbeddedServer, default_data

__all__ = ["EmbeddedServer", "default_data"]
