"""Which row of a group's handlers is whose, while processes of the releases before and after a rename come and go.

A row keeps every name that its handler had. A process that knows the handler by one of them is given that row, with its
number, marks, deliveries and start, and goes on under the name it knows; people see the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar


class Named(Protocol):
    """A handler's row: what it is called, and what it was called before."""

    @property
    def id(self) -> int: ...

    @property
    def name(self) -> str: ...

    @property
    def former_names(self) -> Sequence[str]: ...


Row = TypeVar("Row", bound=Named)
Former = Mapping[str, Sequence[str]]
"""Handlers by name, each with the names that it had by its declaration."""


def rows_of(handlers: Iterable[str], rows: Sequence[Row]) -> dict[str, Row]:
    """The rows of handlers that have been registered: by the name, else by one that the row had."""
    return _assign(dict.fromkeys(handlers, ()), rows, [_is_called, _was_called])


def rows_to_take(handlers: Former, rows: Sequence[Row]) -> dict[str, Row]:
    """The rows that handlers take when they are registered; those that are left out are new."""
    names = {row.name for row in rows}

    def renames(name: str, was: Sequence[str], row: Named) -> bool:
        return name not in names and row.name in was

    return _assign(handlers, rows, [renames, _is_called, _is_renamed, _was_called, _shares_a_past])


def former_names(name: str, was: Sequence[str], row: Named) -> tuple[str, list[str]]:
    """What a taken row is called from now on, and what it was called: an old name does not replace the newest."""
    newest = row.name if name in row.former_names and row.name not in was else name
    return newest, sorted({*row.former_names, *was, row.name, name} - {newest})


def _assign(
    handlers: Former, rows: Sequence[Row], rules: Sequence[Callable[[str, Sequence[str], Named], bool]]
) -> dict[str, Row]:
    """Each handler at most one row and each row at most one handler, by the first rule that fits."""
    taken: dict[str, Row] = {}
    left = sorted(rows, key=lambda row: row.id)
    for rule in rules:
        for name, was in handlers.items():
            row = next((row for row in left if name not in taken and rule(name, was, row)), None)
            if row is not None:
                taken[name] = row
                left.remove(row)
    return taken


def _is_called(name: str, _: Sequence[str], row: Named) -> bool:
    return row.name == name


def _is_renamed(_: str, was: Sequence[str], row: Named) -> bool:
    return row.name in was


def _was_called(name: str, _: Sequence[str], row: Named) -> bool:
    return name in row.former_names


def _shares_a_past(_: str, was: Sequence[str], row: Named) -> bool:
    return not set(was).isdisjoint(row.former_names)
