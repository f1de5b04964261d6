"""The schema's steps inside an Alembic migration: the same statements, recorded in the same place.

Each step is a no-op where the schema is past it already, so the command line and Alembic may both have been used.
"""

from __future__ import annotations

import os

from sqlalchemy import text

from alembic import op
from fastapi_events.store.schema.steps import checked_version, completion, held_version, preparation, record, statements


def upgrade_step(version: int, *, schema: str | None = None, partitions: int | None = None) -> None:
    """Apply one step within the current migration; ``schema`` and ``partitions`` default to the environment's."""
    name = schema or os.environ.get("EVENTS_SCHEMA") or "events"
    if partitions is None:
        partitions = int(os.environ.get("EVENTS_PARTITIONS") or 32)
    if _held(name, default=version - 1) >= version:
        return
    _run(
        [
            preparation(name),
            *statements(checked_version(version, lowest=1), "up", name),
            *completion(version, name, partitions),
        ]
    )


def downgrade_step(version: int, *, schema: str | None = None) -> None:
    """Take one step back within the current migration."""
    name = schema or os.environ.get("EVENTS_SCHEMA") or "events"
    if _held(name, default=version) < version:
        return
    _run([*statements(version, "down", name), record(version - 1, name)])


def _held(schema: str, *, default: int) -> int:
    """The version that the database has; ``default`` where only SQL is being printed."""
    if op.get_context().as_sql:
        return default
    connection = op.get_bind()
    exists, version = held_version(schema)
    return int(connection.execute(text(version)).scalar_one()) if connection.execute(text(exists)).scalar() else 0


def _run(parts: list[str]) -> None:
    for statement in parts:
        op.execute(statement.replace(":", r"\:"))
