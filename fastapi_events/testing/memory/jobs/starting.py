"""Deciding about starts in open transactions: what PostgreSQL does by unique rows and locks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from fastapi_events.model.run_start import RunStart
from fastapi_events.store.starts import started_by
from fastapi_events.testing.memory.held_back import held_elsewhere, held_on, hold, lock, settle
from fastapi_events.testing.memory.jobs.runs import KeptRuns, Key, Replaced
from fastapi_events.testing.memory.refusing import refuse

Rows = Sequence[dict[str, Any]]


def start_runs(runs: KeptRuns, starts: Sequence[RunStart], connection: Connection | None = None) -> list[bool]:
    """Start runs with the commit of the connection's transaction, without one at once; as ``RunLog.start``.

    Raises ``NotOnMemory`` for a key that another open transaction has started: PostgreSQL would wait for its end.
    """
    with lock:
        settle()
        deciding = Deciding(runs, connection, starts)
        return started_by(starts, deciding.answer)


class Deciding:
    """One call that starts runs. It answers the statements by which the library asks a database."""

    def __init__(self, runs: KeptRuns, connection: Connection | None, starts: Sequence[RunStart]) -> None:
        self._runs, self._connection = runs, connection
        self._given = {start.id: start for start in starts}
        self._taken: dict[Key, UUID] = {}
        """The dedupe keys that this call has taken and not given back."""
        self._statements: dict[str, Callable[[Rows], Rows]] = {
            "take_dedupe_keys": self._take, "read_dedupe_keys": self._read, "free_dedupe_keys": self._free,
            "lock_starts": self._lock, "find_rivals": self._rivals, "replace_runs": self._replace,
            "find_started_runs": self._there, "find_line": self._line, "wait_briefly": lambda _: (),
            "start_runs": self._start, "start_limited_runs": self._start,
        }  # fmt: skip

    def answer(self, statement: str, parameter: str) -> Rows:
        """What the statement returns."""
        return self._statements[statement](json.loads(parameter))

    def _there(self, rows: Rows) -> Rows:
        own = {start.id for start in self._written()}
        ids = [UUID(row["run_id"]) for row in rows]
        return [{"run_id": one} for one in ids if one in own or self._runs.find(one) is not None]

    def _line(self, rows: Rows) -> Rows:
        above, found = {UUID(row["parent_id"]) for row in rows}, list[dict[str, Any]]()
        for run_id in [UUID(row["run_id"]) for row in rows]:
            for one in above:
                run = self._runs.find(one)
                while run is not None and run.id != run_id:
                    run = None if run.start.parent_id is None else self._runs.find(run.start.parent_id)
                found += [] if run is None else [{"run_id": run_id}]
        return found

    def _take(self, rows: Rows) -> Rows:
        taken: list[dict[str, Any]] = []
        for row in rows:
            key = _key_of(row)
            if self._owner(key) is None:
                self._taken[key] = UUID(row["run_id"])
                taken.append({"run_id": row["run_id"]})
        return taken

    def _read(self, rows: Rows) -> Rows:
        return [row | {"run_id": owner} for row in rows if (owner := self._owner(_key_of(row))) is not None]

    def _free(self, rows: Rows) -> Rows:
        for row in rows:
            if self._taken.get(_key_of(row)) == UUID(row["run_id"]):
                del self._taken[_key_of(row)]
        return []

    def _owner(self, key: Key) -> UUID | None:
        """The run that has a dedupe key."""
        if key in self._taken:
            return self._taken[key]
        own = next((start.id for start in self._written() if _dedupe_key(start) == key), None)
        if own is not None:
            return own
        if any(_dedupe_key(start) == key for start in self._written_elsewhere()):
            self._refuse(key)
        kept = self._runs.keys.get(key)
        return kept.run_id if kept is not None and kept.counts(self._runs.clock.now()) else None

    def _lock(self, rows: Rows) -> Rows:
        keys = {_key_of(row) for row in rows}
        for start in self._written_elsewhere():
            if _exclusive_key(start) in keys:
                self._refuse((start.job_id, str(_exclusive_key(start))))
        return []

    def _rivals(self, rows: Rows) -> Rows:
        found: list[dict[str, Any]] = []
        gone = {one.run_id for one in self._held() if isinstance(one, Replaced)}
        there = [run.start for run in self._runs.queued() if run.exclusive and run.cancel_reason is None]
        for row in rows:
            same = [start for start in (*there, *self._written()) if _exclusive_key(start) == _key_of(row)]
            rivals = [start.id for start in same if start.id not in gone][: row["slots"]]
            found += [row | {"run_id": run_id} for run_id in rivals]
        return found

    def _replace(self, rows: Rows) -> Rows:
        for row in rows:
            self._put(Replaced(UUID(row["run_id"]), row["reason"]))
        return []

    def _start(self, rows: Rows) -> Rows:
        begun: list[dict[str, Any]] = []
        for run_id in [UUID(row["id"]) for row in rows]:
            start = self._given[run_id]
            if not self._runs.has(start) and not any(_is_same(one, start) for one in self._written()):
                self._put(start)
                begun.append({"id": run_id})
        return begun

    def _put(self, thing: Any) -> None:
        if self._connection is None:
            self._runs.keep([thing])
        else:
            hold(self._connection, self._runs, [thing])

    def _held(self) -> list[Any]:
        return [] if self._connection is None else held_on(self._connection, self._runs)

    def _written(self) -> list[RunStart]:
        """What this transaction has started before."""
        return [one for one in self._held() if isinstance(one, RunStart)]

    def _written_elsewhere(self) -> Iterator[RunStart]:
        return (one for one in held_elsewhere(self._connection, self._runs) if isinstance(one, RunStart))

    def _refuse(self, key: Key) -> None:
        refuse(
            f"jobs.start({self._runs.job_name(key[0])}) of the key {key[1]!a}",
            "another open transaction has started a run of this key, and PostgreSQL would wait for its end",
            "Commit or roll that transaction back first.",
        )


def _key_of(row: dict[str, Any]) -> Key:
    return row["job_id"], row["key"]


def _dedupe_key(start: RunStart) -> Key | None:
    limits = start.limits
    return None if limits is None or limits.dedupe_key is None else (start.job_id, limits.dedupe_key)


def _exclusive_key(start: RunStart) -> Key | None:
    limits = start.limits
    return (start.job_id, str(limits.limit_key)) if limits is not None and limits.exclusive else None


def _is_same(one: RunStart, other: RunStart) -> bool:
    by_event = other.event_id is not None and (one.event_id, one.trigger_id) == (other.event_id, other.trigger_id)
    return one.id == other.id or by_event
