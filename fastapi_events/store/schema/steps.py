"""The DDL of each step, as lists of single statements that any driver can run."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Literal

from fastapi_events.errors import SettingsError

LATEST = 1
MOST_PARTITIONS = 1024
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")


def quoted(schema: str) -> str:
    """The schema's name as an SQL identifier; raises ``SettingsError`` for anything but a plain lower-case name."""
    if not _SCHEMA_NAME.match(schema) or schema.startswith("pg_"):
        raise SettingsError(
            f"schema={ascii(schema)[:80]}: the schema's name is lower-case letters, digits and underscores, 63 at "
            "most, not beginning with a digit or 'pg_'. Set EVENTS_SCHEMA to such a name."
        )
    return f'"{schema}"'


def checked_version(version: int, *, lowest: int = 0) -> int:
    """``version``; raises ``SettingsError`` unless this release knows it."""
    if not lowest <= version <= LATEST:
        raise SettingsError(
            f"There is no schema version {version}: this release knows versions {lowest} to {LATEST}. "
            f"Leave the version out for the newest, or install the release that has version {version}."
            if version > LATEST
            else f"There is no schema version {version}: versions are {lowest} to {LATEST}."
        )
    return version


def in_schema(statement: str, schema: str) -> str:
    """A statement with its place-holder ``{schema}`` filled."""
    return statement.replace("{schema}", quoted(schema))


@cache
def statements(version: int, direction: Literal["up", "down"], schema: str) -> tuple[str, ...]:
    """The statements of one step, in order."""
    text = files("fastapi_events.store.schema").joinpath(f"v{version:04d}_{direction}.sql").read_text(encoding="utf-8")
    return tuple(part for part in (piece.strip() for piece in re.split(r";\s*\n", in_schema(text, schema))) if part)


def ddl(
    schema: str = "events", *, first: int = 1, last: int = LATEST, partitions: int = 32, role: str | None = None
) -> str:
    """A script of the steps ``first`` to ``last``, and of the grants for ``role``, in one transaction.

    For people who run DDL by hand. Raises ``SettingsError`` for a schema's name or a number of partitions that cannot
    be.
    """
    lines = [preparation(schema)]
    for version in range(first, last + 1):
        lines += [*statements(version, "up", schema), *completion(version, schema, partitions)]
    if role:
        lines.append(grants(schema, role).strip().removesuffix(";"))
    return "BEGIN;\n\n" + ";\n\n".join(lines) + ";\n\nCOMMIT;\n"


_VERSION_TABLE = """CREATE TABLE IF NOT EXISTS {schema}.schema_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version integer NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
_RECORD = """INSERT INTO {schema}.schema_version (version) VALUES ([version])
ON CONFLICT (only_row) DO UPDATE SET version = excluded.version, changed_at = clock_timestamp()"""
_INSTALLATION = """INSERT INTO {schema}.installation (partitions, system_identifier)
SELECT [partitions], system_identifier FROM pg_control_system()"""
_FIRST_SEGMENTS = (
    "CREATE TABLE {schema}.event_0 PARTITION OF {schema}.event FOR VALUES FROM (0) TO (16777216)",
    "CREATE TABLE {schema}.event_16777216 PARTITION OF {schema}.event FOR VALUES FROM (16777216) TO (33554432)",
    "INSERT INTO {schema}.log_segment (lower, upper) VALUES (0, 16777216), (16777216, 33554432)",
)
_GRANTS = """GRANT USAGE ON SCHEMA {schema} TO [role];
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO [role];
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO [role];
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO [role];
ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO [role];
"""


def preparation(schema: str) -> str:
    """Makes the schema itself."""
    return in_schema("CREATE SCHEMA IF NOT EXISTS {schema}", schema)


def completion(version: int, schema: str, partitions: int) -> list[str]:
    """What belongs to a step but depends on settings, and the recording of the version."""
    filled: list[str] = []
    if version == 1:
        if not 1 <= partitions <= MOST_PARTITIONS:
            raise SettingsError(
                f"partitions={partitions}: a lane has 1 to {MOST_PARTITIONS} partitions. Correct EVENTS_PARTITIONS."
            )
        filled = [_INSTALLATION.replace("[partitions]", str(int(partitions))), *_FIRST_SEGMENTS]
    return [in_schema(statement, schema) for statement in (_VERSION_TABLE, *filled)] + [record(version, schema)]


def record(version: int, schema: str) -> str:
    """Writes the version that the schema has now."""
    return in_schema(_RECORD, schema).replace("[version]", str(int(version)))


def held_version(schema: str) -> tuple[str, str]:
    """Two questions: whether there is a version at all, and which it is."""
    exists = "SELECT to_regclass('{schema}.schema_version') IS NOT NULL"
    version = "SELECT coalesce(max(version), 0) FROM {schema}.schema_version"
    return in_schema(exists, schema), in_schema(version, schema)


def grants(schema: str, role: str) -> str:
    """What a role that does not own the schema needs to publish and to handle: rows, no DDL."""
    return in_schema(_GRANTS, schema).replace("[role]", '"' + role.replace('"', '""') + '"')
