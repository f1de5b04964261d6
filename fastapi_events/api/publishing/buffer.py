"""Events on their way into a transaction: which (sub)transaction each belongs to, and whether its row is written.

A scope is whatever stands for a transaction or savepoint; scopes are compared by identity alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi_events.api.publishing.caller import Site
from fastapi_events.api.publishing.changes import Change
from fastapi_events.model.run_start import Sealed

Scope = object


@dataclass(slots=True, eq=False)
class Entry:
    """A published event: the scope that decides about it, and the one its row was written in, if it was.

    ``commit_began`` says that a commit was called for it. One that succeeds leaves no entry behind. ``change`` is what
    a flush did to a row that tells of itself: of those of one row, the last stands for all.
    """

    envelope: Sealed
    scope: Scope
    site: Site
    written_in: Scope | None = None
    commit_began: bool = False
    change: Change | None = None


class EventBuffer:
    """The events of one transaction, in publishing order: those whose rows are written, then those that wait."""

    __slots__ = ("has_changes", "waiting", "written")

    def __init__(self) -> None:
        self.has_changes = False
        self.written: list[Entry] = []
        self.waiting: list[Entry] = []

    def add(self, envelopes: Sequence[Sealed], scope: Scope, site: Site) -> list[Entry]:
        """Note events published in ``scope``."""
        added = [Entry(envelope, scope, site) for envelope in envelopes]
        self.waiting += added
        return added

    def commit_begins(self) -> None:
        """A root commit is under way; it is over for all of them, or raises."""
        for entry in (*self.written, *self.waiting):
            entry.commit_began = True

    def remove(self, entries: Sequence[Entry]) -> None:
        """Forget events that wait: their publishing was refused."""
        gone = set(entries)
        self.waiting = [entry for entry in self.waiting if entry not in gone]

    def add_change(self, envelope: Sealed, change: Change, scope: Scope, site: Site) -> None:
        """Note what a flush in ``scope`` did to a row; ``envelope`` tells of it, and of what came before."""
        self.waiting.append(Entry(envelope, scope, site, change=change))
        self.has_changes = True

    def changes(self) -> dict[object, Change]:
        """The last change of each row that is not written yet, by key."""
        return {entry.change.key: entry.change for entry in self.waiting if entry.change is not None}

    def ready(self, *, committing: bool) -> list[Entry]:
        """What is to be written: of changes nothing before the commit, and then one event for each row."""
        if not self.has_changes:
            return self.waiting
        if not committing:
            return [entry for entry in self.waiting if entry.change is None]
        return _one_for_each_row(self.waiting)

    def write(self, ready: Sequence[Entry], scope: Scope, duplicates: Sequence[bool], *, committing: bool) -> None:
        """The rows of these are written in ``scope``, but for duplicates, of which nothing is left to do."""
        for entry, duplicate in zip(ready, duplicates, strict=True):
            if not duplicate:
                entry.written_in = scope
                self.written.append(entry)
        left = self.has_changes and not committing
        self.waiting = [entry for entry in self.waiting if entry.change is not None] if left else []

    def release(self, scope: Scope, into: Scope) -> None:
        """A savepoint was released: what it held belongs to the scope around it."""
        for entry in (*self.written, *self.waiting):
            if entry.scope is scope:
                entry.scope = into
            if entry.written_in is scope:
                entry.written_in = into

    def roll_back(self, scope: Scope) -> list[Entry]:
        """A scope was undone: its events are gone, and rows that others had written in it wait again."""
        entries = self.clear()
        gone: list[Entry] = []
        for entry in entries:
            if entry.scope is scope:
                gone.append(entry)
            elif entry.written_in is None or entry.written_in is scope:
                entry.written_in = None
                self.waiting.append(entry)
            else:
                self.written.append(entry)
        return gone

    def clear(self) -> list[Entry]:
        """The transaction is over: hand everything out."""
        entries = self.written + self.waiting
        self.written, self.waiting = [], []
        return entries


def _one_for_each_row(entries: Sequence[Entry]) -> list[Entry]:
    """The last word about each row, in the place of the first one."""
    last = {entry.change.row: entry for entry in entries if entry.change is not None}
    ready: list[Entry] = []
    for entry in entries:
        if entry.change is None:
            ready.append(entry)
        elif (final := last.pop(entry.change.row, None)) is not None and final.change and final.change.told:
            ready.append(final)
    return ready
