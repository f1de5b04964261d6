"""Planted defects: the engine without one of its guards. The machine has to find each of them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from unittest.mock import patch

from fastapi_events.engine import dispatch, redelivery
from fastapi_events.engine.suspects import Suspects
from fastapi_events.model.outcome import Outcome
from fastapi_events.store.marks import MarkStore
from fastapi_events.store.statements import Statements

Edits = dict[str, list[tuple[str, str]]]

_NEWEST = """(SELECT max(c.seq) + 1 FROM {schema}.cursor_log c
              WHERE c.group_id = $1 AND c.lane = $2 AND c.partition = s.partition)"""
_NOBODY = "FROM (SELECT NULL::xid8 WHERE false) AS x(xid)"


class CannotPlant(Exception):
    """The guard that a twin removes is not where it was: the twin must be brought up to date."""


@contextlib.contextmanager
def plant(twin: str | None) -> Iterator[None]:
    """Remove a guard for a block of code."""
    with TWINS[twin]() if twin is not None else contextlib.nullcontext():
        yield


def _edited(edits: Edits) -> Any:
    original = Statements.__getitem__
    for name in edits:
        _edit(edits[name], original(Statements(), name), name)

    def altered(self: Statements, name: str) -> str:
        text = original(self, name)
        return _edit(edits[name], text, name).replace("{schema}", "events") if name in edits else text

    return patch.object(Statements, "__getitem__", altered)


def _edit(edits: list[tuple[str, str]], text: str, name: str) -> str:
    for pattern, replacement in edits:
        text, count = re.subn(pattern, lambda _, new=replacement: new, text, flags=re.DOTALL)  # type: ignore[misc]
        if not count:
            raise CannotPlant(f"{name}.sql has no {pattern!r} to remove")
    return text


def _without_partition_fence() -> Any:
    """A batch is settled whoever has its partition now."""
    return _edited(
        {"settle_batch": [(r"s\.seq \+ 1", _NEWEST), (r"CROSS JOIN LATERAL \(\s*SELECT 1 FROM.*?LIMIT 1\) mine", "")]}
    )


def _without_key_fence() -> Any:
    """A parked key is settled whoever has claimed it since."""
    return _edited({"settle_key": [(r"AND token = \$3", "AND $3::bigint IS NOT NULL")]})


def _without_late_commits() -> Any:
    """What was in progress when a window was opened is never looked for again."""
    return _edited({"claim_windows": [(r"FROM pg_snapshot_xip\([co]\.seen\) AS x\(xid\)", _NOBODY)]})


def _without_parked_keys() -> Any:
    """The lane does not look whether a key is parked."""
    return patch.object(dispatch.Dispatch, "is_parked", lambda *_: False)


def _without_hold() -> Any:
    """A dead letter holds nobody: what waits behind it is due, read and run."""
    held = r"AND \(held\.position IS NULL OR q\.position < held\.position OR q\.redrives > 0\)"
    due = [("'infinity'::timestamptz", "clock_timestamp()")]
    return _edited({"read_queue": [(held, "")], "settle_key": due, "settle_batch": due})


def _without_stop_at_failure() -> Any:
    """The run of a key goes on behind a delivery that is to be tried again."""
    original = redelivery.note

    def note(*arguments: Any) -> bool:
        original(*arguments)
        return True

    return patch.object(redelivery, "note", note)


def _without_mark() -> Any:
    """Transactional handlers leave no mark."""
    return patch.object(MarkStore, "literal_take", lambda *_: "SELECT 1")


def _without_sparing() -> Any:
    """What the infrastructure interrupts spends an attempt."""
    return patch.object(Outcome, "spent", property(lambda self: self.kind != "postponed"))


class _Blind:
    """Gates that are always open to whoever asks."""

    closed: ClassVar[dict[int, str]] = {}

    def __init__(self, gates: Any) -> None:
        self._gates = gates

    def __getattr__(self, name: str) -> Any:
        return getattr(self._gates, name)


def _without_pause() -> Any:
    """A batch is worked through whether or not its handlers are paused."""
    original = dispatch.Dispatch.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.gates = _Blind(self.gates)

    return patch.object(dispatch.Dispatch, "__init__", init)


def _without_failures() -> Any:
    """A batch forgets what has failed in it."""
    original = dispatch.Dispatch.park

    def park(self: Any, item: Any, taker: Any, outcome: Any, *rest: Any, **options: Any) -> None:
        if outcome is None or outcome.kind != "retry":
            original(self, item, taker, outcome, *rest, **options)

    return patch.object(dispatch.Dispatch, "park", park)


def _without_proof() -> Any:
    """One process that fell silent over an event is enough for it to be dead."""
    return patch.object(Suspects, "_is_guilty", lambda _, record: record.crashes > 0)


TWINS: dict[str, Callable[[], Any]] = {
    "partition-fence": _without_partition_fence,
    "key-fence": _without_key_fence,
    "late-commits": _without_late_commits,
    "parked-keys": _without_parked_keys,
    "hold": _without_hold,
    "stop-at-failure": _without_stop_at_failure,
    "mark": _without_mark,
    "sparing": _without_sparing,
    "pause": _without_pause,
    "failures": _without_failures,
    "proof": _without_proof,
}
