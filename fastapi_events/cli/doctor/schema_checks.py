"""Checks of the schema: its version, its cluster, the role's rights, and its tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from fastapi_events.cli.doctor.finding import Finding, fail, ok, some, warn, warn_of
from fastapi_events.errors import SchemaOutOfDate
from fastapi_events.store import schema
from fastapi_events.store.examination import Examination
from fastapi_events.store.rebase import check_cluster


async def version_finding(connection: Any, name: str) -> Finding:
    """Whether this release can work with the schema that is there."""
    held = await schema.current_version(connection, schema=name)
    if held == 0:
        return fail(
            "schema",
            f"The schema {name!r} is not installed.",
            "Run 'fastapi-events db upgrade', or correct EVENTS_SCHEMA.",
        )
    if held < schema.LATEST:
        return fail(
            "schema", f"The schema {name!r} has version {held}; this release needs {schema.LATEST}.",
            "Run 'fastapi-events db upgrade'.",
        )  # fmt: skip
    if held > schema.LATEST:
        return warn(
            "schema", f"The schema {name!r} has version {held}; this release knows {schema.LATEST}.",
            "That works during a deploy. Afterwards run the newer release everywhere.",
        )  # fmt: skip
    return ok("schema", f"{name!r} is at version {held}")


async def schema_findings(examination: Examination, role: str) -> AsyncIterator[Finding]:
    """What else is asked of a schema that is there."""
    yield _cluster(await examination.installation())
    yield _rights(await examination.missing_rights(), role)
    tables = await examination.tables()
    for finding in (*_log(await examination.log_end(), owner=tables["owner"]), _vacuumed(tables["not_vacuumed"])):
        yield finding


def _cluster(row: Any) -> Finding:
    try:
        check_cluster(row["installed_identifier"], row["system_identifier"])
    except SchemaOutOfDate as error:
        message, _, mend = str(error).partition(" Stop ")
        return fail("cluster", message, f"Stop {mend}")
    return ok("cluster", "the log was made on this cluster")


def _rights(missing: Sequence[Any], role: str) -> Finding:
    if not missing:
        return ok("rights", "the role may publish and handle")
    told = some([f"{row['privilege']} on {row['name']}" for row in missing])
    return fail(
        "rights", f"The role {role!r} lacks {told}.", f"As the schema's owner, run 'fastapi-events db grant {role}'."
    )


def _log(row: Any, *, owner: bool) -> Iterator[Finding]:
    room = row["reach"] - row["position"]
    mend = "As the schema's owner, run 'fastapi-events db maintain'."
    if room < row["size"] // 4:
        yield fail("log", f"The log has room for {max(room, 0):,} more events; then publishing fails.", mend)
    elif room < row["size"]:
        yield warn("log", f"The log has room for {room:,} more events.", mend)
    else:
        yield ok("log", f"the log has room for {room:,} more events")
    if owner:
        yield ok("owner", "the role owns the log, and its workers extend it")
    else:
        yield ok("owner", "the role does not own the log: have its owner run 'fastapi-events db maintain' now and then")


def _vacuumed(left_out: Sequence[str]) -> Finding:
    return warn_of(
        "vacuumed tables", list(left_out), "Autovacuum is switched off for {}.",
        "Reset the storage parameter autovacuum_enabled of each of them (ALTER TABLE).",
        well="autovacuum looks after every table",
    )  # fmt: skip
