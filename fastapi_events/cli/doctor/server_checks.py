"""Checks of the server, from what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from fastapi_events.cli.doctor.finding import Finding, fail, ok, some, warn
from fastapi_events.cli.moments import span

OLDEST_VERSION = 140_000
MOST_SKEW = 2.0
"""Seconds that this machine's clock may differ from the database's."""


def server_findings(row: Any, *, before: datetime, after: datetime) -> Iterator[Finding]:
    """``before`` and ``after`` are this machine's times around the question."""
    yield _version(row)
    yield _primary(row)
    yield _clock(row["moment"], before, after)
    yield _autovacuum(row)
    yield _notifications(row["notify_queue"])


def _version(row: Any) -> Finding:
    if row["version_number"] < OLDEST_VERSION:
        return fail("version", f"PostgreSQL {row['version']} is too old.", "Upgrade to PostgreSQL 14 or newer.")
    return ok("version", f"PostgreSQL {row['version']}")


def _primary(row: Any) -> Finding:
    if row["standby"]:
        return fail(
            "primary",
            "The server is a standby, which can store nothing.",
            "Give the primary's address as database_url.",
        )
    return ok("primary", "the server takes writes")


def _clock(moment: datetime, before: datetime, after: datetime) -> Finding:
    skew = max((before - moment).total_seconds(), (moment - after).total_seconds(), 0.0)
    if skew > MOST_SKEW:
        return warn(
            "clock", f"This machine's clock and the database's differ by {skew:,.1f} s.",
            "Have both set their clocks by NTP. Leases go by the database's clock alone, but ages and filters are off.",
        )  # fmt: skip
    return ok("clock", "this machine's clock agrees with the database's")


def _autovacuum(row: Any) -> Finding:
    if not row["autovacuum"]:
        return fail(
            "autovacuum", "Autovacuum is off, so statistics age and dead rows pile up.",
            "Set autovacuum = on and track_counts = on in postgresql.conf.",
        )  # fmt: skip
    return ok("autovacuum", "autovacuum runs")


def _notifications(used: float) -> Finding:
    text = f"{used:.0%} of the notification queue is used."
    if used > 0.1:
        mend = "Look in pg_stat_activity for a session that listens and stays idle in a transaction, and end it."
        told = f"{text} When it is full, transactions that notify fail."
        return fail("notification queue", told, mend) if used > 0.5 else warn("notification queue", told, mend)
    return ok("notification queue", text)


def pooler_finding(*, pooled: bool, pgbouncer: bool) -> Finding:
    """Whether the setting says what is."""
    if not pooled:
        if pgbouncer:
            return warn(
                "pooler", "EVENTS_PGBOUNCER is set, but the database is connected to directly.",
                "Unset it: without a pooler, prepared statements make the worker faster.",
            )  # fmt: skip
        return ok("pooler", "no pooler stands between")
    if not pgbouncer:
        return fail(
            "pooler", "A pooler stands between, and EVENTS_PGBOUNCER is not set.",
            "Set EVENTS_PGBOUNCER=true, and EVENTS_LISTEN_DATABASE_URL to the server's own address.",
        )  # fmt: skip
    return ok("pooler", "a pooler stands between, as EVENTS_PGBOUNCER says")


def connection_finding(row: Any, needed: int, processes: int) -> Finding:
    """``needed`` is what the group's live processes may open in all."""
    usable, used = row["usable_connections"], row["connections"]
    many = f"{processes} live process{'' if processes == 1 else 'es'}"
    text = f"{many} may open {needed} of {usable} connections; {used} are in use."
    mend = "Lower EVENTS_HANDLER_CONNECTIONS or the number of processes, raise max_connections, or use a pooler."
    if needed > usable:
        return fail("connections", text, mend)
    if used > usable * 0.9:
        return warn("connections", text, mend)
    return ok("connections", text)


def horizon_findings(rows: Sequence[Any]) -> Iterator[Finding]:
    """Old transactions and replication slots."""
    transactions = [f"{row['name']} ({span(row['age'])})" for row in rows if row["kind"] in ("transaction", "prepared")]
    slots = [f"{row['kind']} {row['name']} ({row['age']:,} transactions)" for row in rows if "slot" in row["kind"]]
    if transactions:
        yield warn(
            "old transactions", f"Open for more than ten minutes: {some(transactions)}.",
            "End them (pg_terminate_backend, ROLLBACK PREPARED), and set idle_in_transaction_session_timeout: while "
            "they are open, dead rows stay and no segment of the log is sealed.",
        )  # fmt: skip
    else:
        yield ok("old transactions", "no transaction that this role can see is older than ten minutes")
    if slots:
        yield warn(
            "replication slots", f"Far behind: {some(slots)}.",
            "Drop slots that nobody reads (pg_drop_replication_slot), or have their readers catch up: dead rows stay "
            "until then.",
        )  # fmt: skip
    else:
        yield ok("replication slots", "none is far behind")
