"""The database schema, versioned inside the package.

One integer version, kept in the table ``schema_version`` of the library's own PostgreSQL schema. Every step is a
list of statements in a file of its own; ``upgrade`` and ``downgrade`` run the steps between two versions in one
transaction under an advisory lock, so any number of replicas may start at once. The same steps serve the command
line, start-up on the embedded server, and Alembic.
"""

from fastapi_events.store.schema.migrate import (
    check,
    current_version,
    downgrade,
    upgrade,
)
from fastapi_events.store.schema.steps import LATEST, checked_version, ddl, grants, quoted, statements

__all__ = [
    "LATEST",
    "check",
    "checked_version",
    "current_version",
    "ddl",
    "downgrade",
    "grants",
    "quoted",
    "statements",
    "upgrade",
]
