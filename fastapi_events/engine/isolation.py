"""The isolation level of a job's transaction: one that reads from a snapshot cannot end with the run's row.

While a job or step is at work its run's row changes: the lease is renewed, children end, signals come. Who works in a
snapshot of before may not change it any more, so that everything that lasts longer than a heartbeat would be rolled
back, and done again, for ever. Such transactions are refused, and not quietly made READ COMMITTED: whoever chose the
level relies on what it keeps apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi_events.errors import InvalidJob, SettingsError

SNAPSHOTS = ("REPEATABLE READ", "SERIALIZABLE")
"""Levels at which all statements of a transaction read from one snapshot."""
_RULE = (
    "its transaction ends with the row of the run, which changes while it is at work (its lease is renewed), and which "
    "a snapshot of before cannot change: it would be rolled back and done again without end."
)
_MEND = (
    "Give Events sessions at READ COMMITTED, sessions=async_sessionmaker(engine.execution_options(isolation_level="
    "'READ COMMITTED')), and lock the rows on which a decision rests, by with_for_update(). Or take no HandlerSession, "
    "and open a session of your own at that level, in a step that may be done twice."
)


def declared_level(sessions: Any) -> str | None:
    """The isolation level that a session maker, or the engine that it is bound to, asks for; None if neither does."""
    bind = sessions.kw.get("bind")
    engine = getattr(bind, "sync_engine", bind)
    read: Any = getattr(engine, "get_execution_options", dict)
    given: list[Any] = [sessions.kw.get("execution_options"), read()]
    for options in given:
        if options and "isolation_level" in options:
            return _named(options["isolation_level"])
    level = getattr(getattr(engine, "dialect", None), "_on_connect_isolation_level", None)  # of create_engine()
    return None if level is None else _named(level)


def check_declared(sessions: Any, jobs: Iterable[str]) -> None:
    """Raise ``SettingsError`` if jobs that take a session would be given one of such a level."""
    level, names = declared_level(sessions), sorted(jobs)
    if level in SNAPSHOTS and names:
        raise SettingsError(
            f"job {names[0]!r} takes a HandlerSession, and sessions= gives sessions at {level}: {_RULE} {_MEND}"
        )


def check_level(level: str) -> None:
    """Raise ``InvalidJob`` if a transaction that has just begun is of such a level."""
    if _named(level) in SNAPSHOTS:
        raise InvalidJob(
            f"a HandlerSession of a job, or of a step, would be at {_named(level)}, as the engine or the default of "
            f"the database or role says: {_RULE} {_MEND}"
        )


def _named(level: object) -> str:
    return str(level).upper().replace("_", " ")
