"""The schema's steps inside an Alembic migration: the same statements, recorded in the same place.

Each step is a no-op where the schema is past it already, so the command line and Alembic may both have been used.
Alembic asks nobody before it steps back, and ``alembic downgrade -1`` picks a branch by itself; so the step that drops
the event log refuses while there is anything in it.
"""

from __future__ import annotations

import os

from alembic.util import CommandError
from sqlalchemy import text

from alembic import op
from fastapi_events.errors import OperationRefused
from fastapi_events.store.schema.loss import held_tables, refusal
from fastapi_events.store.schema.steps import checked_version, completion, held_version, preparation, record, statements

_ASKED = ("fastapi_events_drop", "yes")


class _DropRefused(OperationRefused, CommandError):
    """An ``OperationRefused`` that Alembic's command line tells in one line, without a traceback."""


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


def downgrade_step(version: int, *, schema: str | None = None, drop_events: bool = False) -> None:
    """Take one step back within the current migration.

    The step below version 1 drops every event, so it raises ``OperationRefused`` while there are any, or retries, dead
    letters, marks or operators' actions, unless ``drop_events`` is true or Alembic was called with
    ``-x fastapi_events_drop=yes``. With ``--sql`` the script that is printed refuses when it is run.
    """
    name = schema or os.environ.get("EVENTS_SCHEMA") or "events"
    if _held(name, default=version) < version:
        return
    keeping = [] if version > 1 or drop_events or _drop_is_asked_for() else _refusing(name)
    _run([*keeping, *statements(version, "down", name), record(version - 1, name)])


def _drop_is_asked_for() -> bool:
    """Whether ``-x fastapi_events_drop=yes`` was given; never where migrations run without Alembic's environment."""
    environment = op.get_context().environment_context
    if environment is None:
        return False
    name, value = _ASKED
    return environment.get_x_argument(as_dictionary=True).get(name) == value


def _refusing(schema: str) -> list[str]:
    """Raise if there is anything to lose now; what is to be run first, as rows may come until the tables are locked."""
    if not op.get_context().as_sql:
        held = op.get_bind().execute(text(held_tables(schema))).scalars().all()
        if held:
            raise _DropRefused(
                f"This downgrade would drop the event log: in the schema {schema!r} rows are in {', '.join(held)}. A "
                "step that drops events is refused unless it is asked for. To step your own branch back, name it: "
                f"alembic downgrade shop@-1. To lose every event, say alembic -x {'='.join(_ASKED)} downgrade ... "
                "(in a revision of your own also downgrade_step(1, drop_events=True))."
            )
    return [refusal(schema)]


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
