"""Starting runs that are limited: what is decided at once is decided by unique rows and locks of the database.

The decisions are written once, as a generator of statements, for whatever connection carries them out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from fastapi_events.errors import JobCollisionError, JobError, RunConflict
from fastapi_events.model.run_limits import RunLimits
from fastapi_events.model.run_start import RunStart

Asking = Generator[tuple[str, str], Sequence[Any], None]
"""Yields statements with their parameter, a JSON array, and is sent the rows that they return."""
NAMES = (
    "take_dedupe_keys", "read_dedupe_keys", "free_dedupe_keys", "lock_starts", "find_rivals", "replace_runs",
    "find_started_runs", "find_line", "wait_briefly",
)  # fmt: skip
OFTEN = 10
"""How often a key is tried for whose owner goes each time between two looks."""
BRIEFLY = "2000"
"""Milliseconds for which a trigger waits for transactions of the application that start runs of its key; then it is
tried again, so that it keeps no connection."""

Key = tuple[int, str]


def decided(starts: Sequence[RunStart]) -> Asking:
    """Decide which of these runs are to be started: the ``existing`` of the others says what stands for them.

    Raises ``JobCollisionError``; nothing is left behind then.
    """
    yield from _find_started([start for start in starts if start.is_derived and _limits(start).asks])
    starts = list(left(starts))
    yield from _take_dedupe_keys([start for start in starts if _limits(start).dedupe_key is not None])
    fresh = list(left(starts))
    exclusive = [start for start in fresh if _limits(start).exclusive]
    if not exclusive:
        return
    try:
        yield from _meet_rivals(exclusive)
    except JobCollisionError:
        yield from _free_dedupe_keys(fresh)
        raise
    yield from _free_dedupe_keys([start for start in exclusive if _limits(start).existing is not None])


def _find_started(starts: Sequence[RunStart]) -> Asking:
    """Those that are there by their ids stand for themselves: nothing is asked of them, and they take nobody's place.

    Of an event one is started at a time, so that nobody makes room for a run that another one is just starting; of a
    tick, too, by the lock of its schedule.
    """
    if not starts:
        return
    if any(start.event_id is not None and _limits(start).unattended for start in starts):
        yield "wait_briefly", BRIEFLY
    alone = [start for start in starts if start.event_id is not None and _limits(start).exclusive]
    if alone:
        yield "lock_starts", _json({"job_id": start.job_id, "key": f"run {start.id}"} for start in alone)
    there = {_uuid(row["run_id"]) for row in (yield "find_started_runs", _json(map(_claim, starts)))}
    for start in starts:
        _limits(start).existing = start.id if start.id in there else None


def note_there(begun: Sequence[UUID], starts: Sequence[RunStart]) -> Asking:
    """A run of an event, or a tick, that was there already stands for itself. Raises ``RunConflict`` for others."""
    new = set(begun)
    there = [start for start in starts if start.id not in new]
    for start in there:
        if not start.is_derived:
            raise RunConflict(f"There is a run {start.id} already. Leave run_id= out.", run=start.id)
        _limits(start).existing = start.id
    yield from _free_dedupe_keys(there)


def surplus(starts: Sequence[RunStart]) -> Asking:
    """Cancel those of the runs just started whose place others of the same call take."""
    victims: dict[UUID, UUID] = {}
    for ones in _by_key(left(starts), replacing=True).values():
        over = len(ones) - _limits(ones[0]).slots
        victims.update({one.id: ones[place + len(ones) - over].id for place, one in enumerate(ones[: max(over, 0)])})
    yield from _replace(victims)


def left(starts: Iterable[RunStart]) -> Iterator[RunStart]:
    """Those that nothing stands for."""
    return (start for start in starts if _limits(start).existing is None)


def _take_dedupe_keys(starts: Sequence[RunStart]) -> Asking:
    waiting = list(starts)
    for _ in range(OFTEN):
        if not waiting:
            return
        rows = yield "take_dedupe_keys", _json(map(_claim, waiting))
        taken = {_uuid(row["run_id"]) for row in rows}
        waiting = [start for start in waiting if start.id not in taken]
        if not waiting:
            return
        rows = yield "read_dedupe_keys", _json(map(_claim, waiting))
        owners = {(row["job_id"], row["key"]): _uuid(row["run_id"]) for row in rows}
        for start in waiting:
            limits = _limits(start)
            limits.existing = owners.get((start.job_id, str(limits.dedupe_key)))
            limits.refusal = None if limits.existing in (None, start.id) else "duplicate"
        waiting = list(left(waiting))  # whoever had the key has let go of it since
    raise JobError(
        f"jobs.start({waiting[0].name}): the dedupe key {_limits(waiting[0]).dedupe_key!a} has changed hands "
        f"{OFTEN} times while it was asked for. Start again."
    )


def _free_dedupe_keys(starts: Sequence[RunStart]) -> Asking:
    keyed = [start for start in starts if _limits(start).dedupe_key is not None]
    if keyed:
        yield "free_dedupe_keys", _json(map(_claim, keyed))


def _meet_rivals(starts: Sequence[RunStart]) -> Asking:
    by_key = _by_key(starts)
    keys = [{"job_id": job, "key": key, "slots": _limits(ones[0]).slots} for (job, key), ones in by_key.items()]
    yield "lock_starts", _json(keys)
    rivals: dict[Key, list[UUID]] = defaultdict(list)
    for row in (yield "find_rivals", _json(keys)):
        rivals[row["job_id"], row["key"]].append(_uuid(row["run_id"]))
    victims: dict[UUID, UUID] = {}
    for key, given in by_key.items():
        for start in given:  # one that an event has started already is no rival of itself
            _limits(start).existing = start.id if start.id in rivals[key] else None
        ones = list(left(given))
        if not ones:
            continue
        there, limits = rivals[key], _limits(ones[0])
        free = limits.slots - len(there)
        if limits.on_collision == "replace":
            victims.update(zip(there, [one.id for one in ones[max(free, 0) :]], strict=False))
        elif len(ones) > free:
            _refuse(ones, free, there)
    yield from _check_line(starts, victims)
    yield from _replace(victims)


def _refuse(starts: Sequence[RunStart], free: int, there: Sequence[UUID]) -> None:
    """Let what is there stand for those above the limit; raises ``JobCollisionError`` where somebody can hear it."""
    above = starts[max(free, 0) :]
    limits, first = _limits(starts[0]), above[0]
    if limits.unattended:
        for start in above:
            _limits(start).existing, _limits(start).refusal = there[0] if there else starts[0].id, "rejected"
        return
    about = f" of the key {limits.limit_key!a}" if limits.limit_key else ""
    if there:
        what = f"{len(there)} of {limits.slots} runs{about} have not ended, the oldest is {there[0]}"
    else:
        what = f"{len(starts)} starts{about} in one call are more than {limits.slots}"
    raise JobCollisionError(
        f"{_owner(first)}: {what}, and its Concurrency says on_collision='reject'. Wait for it, start it "
        "later, or let runs wait for their turn with on_collision='queue'.",
        run=there[0] if there else None,
    )


def _check_line(starts: Sequence[RunStart], victims: Mapping[UUID, UUID]) -> Asking:
    """Raise ``JobCollisionError`` for a child that would take the place of a run above it, and end with that one."""
    for start in starts:
        taken = [old for old, new in victims.items() if new == start.id]
        if start.parent_id is None or not taken:
            continue
        above = yield "find_line", _json({"run_id": str(old), "parent_id": str(start.parent_id)} for old in taken)
        for row in above:
            raise JobCollisionError(
                f"{_owner(start)}: it would take the place of run {row['run_id']}, which is above it and whose end "
                "would end it too. Give the child another key, or spawn another job.",
                run=_uuid(row["run_id"]),
            )


def _owner(start: RunStart) -> str:
    if start.source == "parent":
        return f"spawn({start.name}, ...)"
    return f"jobs.start({start.name})" if start.source_ref is None else f"schedule {start.name!r}"


def _replace(victims: dict[UUID, UUID]) -> Asking:
    if victims:
        rows = [{"run_id": str(old), "reason": f"replaced by run {new}"} for old, new in sorted(victims.items())]
        yield "replace_runs", _json(rows)


def _by_key(starts: Iterable[RunStart], *, replacing: bool = False) -> dict[Key, list[RunStart]]:
    found: dict[Key, list[RunStart]] = defaultdict(list)
    for start in starts:
        limits = _limits(start)
        if limits.exclusive and (not replacing or limits.on_collision == "replace"):
            found[start.job_id, str(limits.limit_key)].append(start)
    return found


def _claim(start: RunStart) -> dict[str, Any]:
    limits = _limits(start)
    return {
        "job_id": start.job_id,
        "key": limits.dedupe_key,
        "run_id": str(start.id),
        "seconds": limits.window,
        "until_started": limits.until_started,
    }


def _limits(start: RunStart) -> RunLimits:
    assert start.limits is not None, "only limited runs come here"  # noqa: S101
    return start.limits


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return json.dumps(list(rows), ensure_ascii=False)


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))
