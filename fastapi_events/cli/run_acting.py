"""``jobs cancel``, ``retry``, ``replay`` and ``discard``: asked about, and done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args
from uuid import UUID

from fastapi_events.api.observe.filters import checked_id
from fastapi_events.api.replay_filter import moment_of
from fastapi_events.api.run_operations import RetryState, RunsChanged
from fastapi_events.cli.asking import agreed
from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.terminal import clean, print_json, say
from fastapi_events.errors import InvalidFilter
from fastapi_events.model.job import ReplayFrom
from fastapi_events.model.job_replay import PLACES

Act = Literal["cancel", "retry", "replay", "discard"]
RETRIED: tuple[RetryState, ...] = get_args(RetryState)
_NOT = {
    "cancel": "had ended",
    "retry": "had not ended, or had succeeded",
    "replay": "had not ended",
    "discard": "was not dead",
}
_DONE = {"cancel": "cancelled", "retry": "retried", "replay": "replayed", "discard": "discarded"}


@dataclass(frozen=True, slots=True)
class RunWish:
    """What is to be done to which runs, why and by whom; ``start``: from where they begin again."""

    act: Act
    ids: Sequence[UUID]
    reason: str
    actor: str
    start: ReplayFrom | None = None


@dataclass(frozen=True, slots=True)
class MatchingRuns:
    """Runs of a job that have ended: how, before when, and how many at most."""

    job: str
    state: str | None
    before: str | None
    limit: int
    reason: str
    actor: str


def checked_ids(ids: Sequence[str]) -> list[UUID]:
    """The ids, each once; raises ``InvalidFilter``."""
    return list(dict.fromkeys(checked_id(one, "ID") for one in ids))


def checked_start(start: str | None) -> ReplayFrom | None:
    """From where; raises ``InvalidFilter``."""
    for place in PLACES:
        if place == start:
            return place
    if start is not None:
        raise InvalidFilter(f"--from {ascii(start)[:60]}: it is one of {', '.join(PLACES)}.")
    return None


def checked_selection(ids: Sequence[str], job: str | None) -> None:
    """Raise ``InvalidFilter`` unless it is runs of a job, and no ids."""
    if ids:
        raise InvalidFilter("Ids and --job, --state or --before were given. Give ids, or say which of a job's runs.")
    if not job:
        raise InvalidFilter("Which runs? Give their ids, or --job: retrying everything needs a job.")


async def act_on_runs(events: Any, wish: RunWish, *, yes: bool, as_json: bool) -> int:
    """Ask, and do it to those runs."""
    where = f" from {wish.start}" if wish.start else ""
    if not agreed(f"{wish.act.capitalize()} {_runs(len(wish.ids))}{where}?", yes=yes):
        return 1
    async with operators_of(events) as operators:
        runs = operators.operations.runs
        if wish.act == "replay":
            changed = await runs.replay(wish.ids, from_=wish.start, actor=wish.actor, reason=wish.reason)
        else:
            change = {"cancel": runs.cancel, "retry": runs.retry, "discard": runs.discard}[wish.act]
            changed = await change(wish.ids, actor=wish.actor, reason=wish.reason)
    return _tell(wish.act, changed, as_json=as_json)


async def retry_matching(events: Any, wanted: MatchingRuns, *, yes: bool, as_json: bool) -> int:
    """Ask, and retry what matches."""
    state = _retried(wanted.state)
    until = moment_of("until", wanted.before) or datetime.now(UTC)
    how = wanted.state or "failed or timed_out"
    question = f"Retry runs of {wanted.job} that ended {how}, {wanted.limit:,} at most, the oldest?"
    if not agreed(question, yes=yes):
        return 1
    async with operators_of(events) as operators:
        changed = await operators.operations.runs.retry_matching(
            job=wanted.job, state=state, finished_before=until, limit=wanted.limit,
            actor=wanted.actor, reason=wanted.reason,
        )  # fmt: skip
    if not changed.asked and not as_json:
        say("No run matches. Nothing was changed.")
        return 0
    return _tell("retry", changed, as_json=as_json)


def _retried(given: str | None) -> RetryState | None:
    for state in RETRIED:
        if state == given:
            return state
    if given is not None:
        raise InvalidFilter(f"--state {ascii(given)[:60]}: it is one of {', '.join(RETRIED)}.")
    return None


def _tell(act: Act, changed: RunsChanged, *, as_json: bool) -> int:
    if as_json:
        print_json(changed)
        return 0
    left = changed.asked - changed.changed - len(changed.conflicts)
    done = f"{_runs(changed.changed)} {_DONE[act]}" if changed.changed or changed.asked == 0 else "Nothing was changed"
    say(clean(f"{done}{f'; {_runs(left)} {_NOT[act]}' if left else ''}."))
    for one in changed.conflicts:
        say(f"Run {one.run} stays as it is: run {one.rival} has its dedupe key, or its place, by now.")
    return 0


def _runs(number: int) -> str:
    return f"{number:,} run{'' if number == 1 else 's'}"
