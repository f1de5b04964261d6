"""Counting statements as the server sees them: every one that a database receives, except BEGIN and COMMIT."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from benchmarks.server import Server

# One entry per executed statement under log_statement = all, for the simple and for the extended protocol; the lines
# after a statement's first one begin with a tab.
_LOGGED = re.compile(rb"LOG:  (?:statement|execute [^:]*): ?(.*)", re.DOTALL)
# What may stand before a statement's first word. A statement must never be missed for beginning with a comment.
_BEFORE = re.compile(rb"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_UNCOUNTED = (b"BEGIN", b"START", b"COMMIT")

_STATISTICS = """
    SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid
    WHERE d.datname = $1 AND s.query !~* '^\\s*(begin|start|commit)'
"""

Counter = Callable[[], Awaitable[int]]


class CannotCountError(Exception):
    """The server offers no way to count statements."""


async def statement_counter(server: Server, database_url: str) -> Counter:
    """A function that tells how many statements the database has received since this call.

    Where the server's log can be read, ``log_statement = all`` is set for this database alone and log lines are
    counted; elsewhere ``pg_stat_statements`` is asked, if it is preloaded. Call it before the subject connects.
    """
    database = urlsplit(database_url).path.lstrip("/")
    if server.log is not None:
        return await _by_log(server, database)
    return await _by_statistics(server, database)


async def _by_log(server: Server, database: str) -> Counter:
    log = server.log
    assert log is not None
    async with server.session() as admin:
        await admin.execute(f"ALTER DATABASE \"{database}\" SET log_statement = 'all'")
    offset = log.stat().st_size

    async def counted() -> int:
        with log.open("rb") as lines:
            lines.seek(offset)
            return count_statements(lines)

    return counted


def count_statements(lines: Iterable[bytes]) -> int:
    """The statements in the lines of a server's log, without BEGIN and COMMIT and without empty ones."""
    entries: list[bytes] = []
    for line in lines:
        if line.startswith(b"\t") and entries:
            entries[-1] += line
        else:
            entries.append(line)
    return sum(_counts(match.group(1)) for match in map(_LOGGED.search, entries) if match)


def _counts(statement: bytes) -> bool:
    before = _BEFORE.match(statement)
    text = statement[before.end() :] if before else statement
    return bool(text) and not text.upper().startswith(_UNCOUNTED)


async def _by_statistics(server: Server, database: str) -> Counter:
    async with server.session() as admin:
        if "pg_stat_statements" not in str(await admin.fetchval("SHOW shared_preload_libraries")):
            raise CannotCountError(
                "statements cannot be counted: the server's log is out of reach and pg_stat_statements is not in "
                "shared_preload_libraries. Preload it, or run without --database-url."
            )
        await admin.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        before = int(await admin.fetchval(_STATISTICS, database))

    async def counted() -> int:
        async with server.session() as admin:
            return int(await admin.fetchval(_STATISTICS, database)) - before

    return counted
