"""Events on their way into a transaction: which (sub)transaction each belongs to, and whether its row is written.

A scope is whatever stands for a transaction or savepoint; scopes are compared by identity alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi_events.api.publishing.caller import Site
from fastapi_events.model.envelope import Envelope

Scope = object


@dataclass(slots=True, eq=False)
class Entry:
    """A published event: the scope that decides about it, and the one its row was written in, if it was.

    ``commit_began`` says that a commit was called for it. One that succeeds leaves no entry behind.
    """

    envelope: Envelope
    scope: Scope
    site: Site
    written_in: Scope | None = None
    commit_began: bool = False


class EventBuffer:
    """The events of one transaction, in publishing order: those whose rows are written, then those that wait."""

    __slots__ = ("waiting", "written")

    def __init__(self) -> None:
        self.written: list[Entry] = []
        self.waiting: list[Entry] = []

    def add(self, envelopes: Sequence[Envelope], scope: Scope, site: Site) -> list[Entry]:
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

    def write(self, scope: Scope, duplicates: Sequence[bool]) -> None:
        """The rows of all that waits are written in ``scope``, but for duplicates, of which nothing is left to do."""
        for entry, duplicate in zip(self.waiting, duplicates, strict=True):
            if not duplicate:
                entry.written_in = scope
                self.written.append(entry)
        self.waiting = []

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
