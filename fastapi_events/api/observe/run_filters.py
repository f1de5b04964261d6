"""Filters of runs as people write them: ``job:inventory.restock state:failed``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Literal, get_args
from uuid import UUID

from fastapi_events.api.observe.filters import Term, fingerprint_of, moment_of, terms_of, uuid_of
from fastapi_events.api.unknown_handler import NEAR_NAME
from fastapi_events.errors import InvalidFilter
from fastapi_events.model.job_context import RunSource, RunState
from fastapi_events.store.run_readings import ENDED

RUN_TERMS = (
    "job", "state", "scope", "tag", "pool", "tenant", "source", "schedule", "event", "cause", "parent", "root", "after",
    "before", "id",
)  # fmt: skip
StateTerm = RunState | Literal["dead"]
STATES: tuple[StateTerm, ...] = (*get_args(RunState), "dead")
SOURCES: tuple[RunSource, ...] = get_args(RunSource)


@dataclass(frozen=True, slots=True)
class RunsFilter:
    """A filter of runs, understood; None is any."""

    terms: tuple[Term, ...] = ()
    job: str | None = None
    state: StateTerm | None = None
    scope: tuple[str, str] | None = None
    tag: str | None = None
    pool: str | None = None
    tenant: str | None = None
    source: RunSource | None = None
    not_source: RunSource | None = None
    schedule: str | None = None
    event: UUID | None = None
    cause: str | None = None
    after: datetime | None = None
    before: datetime | None = None
    parent: UUID | None = None
    root: UUID | None = None
    id: UUID | None = None

    @property
    def by_end(self) -> bool:
        """Whether its moments are those at which runs ended."""
        return self.state in ENDED or self.state == "dead"


def parse_run_filter(text: str) -> RunsFilter:
    """Understand a filter of runs; raises ``InvalidFilter`` naming the term, the rule and the mend.

    Terms are joined by "and". ``job:`` and ``pool:`` take a name, ``state:`` one of pending, running, completed,
    failed, timed_out and canceled, ``scope:`` type and id as in ``account/42``, ``root:`` the run that a tree began
    with, ``parent:`` the run that has spawned others, ``event:`` the id of the one that started runs, ``schedule:``
    the one whose ticks did; ``source:-schedule`` leaves those of all schedules out. ``state:dead`` are those that
    failed or timed out, and that nobody has retried or given up. ``after:`` and ``before:`` are about when runs
    were started; with a state in which they have ended, about when they did. A bare word is a run's id or a job's
    name.
    """
    terms = tuple(terms_of(text, RUN_TERMS, names="job"))
    fields: dict[str, Any] = {_field(term): _value(term) for term in terms}
    wanted = RunsFilter(terms, **fields)
    if wanted.after and wanted.before and wanted.after >= wanted.before:
        raise InvalidFilter("after: is not earlier than before:, so nothing can match. Swap or drop one of them.")
    if wanted.tag is not None and len(terms) == 1:
        raise InvalidFilter(
            "tag: alone would read every run, as no index has the tags. Say of what: add job:, scope:, pool:, tenant:, "
            "parent: or root:."
        )
    return wanted


def known_job(name: str, known: Sequence[Any]) -> list[int]:
    """The numbers of the jobs of this name, as they are or were called; raises ``InvalidFilter`` if there is none."""
    found = [row["id"] for row in known if row["name"] == name]
    found = found or [row["id"] for row in known if name in row["former_names"]]
    if not found:
        near = get_close_matches(name, [row["name"] for row in known], n=1, cutoff=NEAR_NAME)
        mend = f"Did you mean job:{near[0]}?" if near else "See 'fastapi-events jobs kinds' for those that there are."
        raise InvalidFilter(f"job:{ascii(name)[1:-1][:80]} is no job of this group. {mend}")
    return found


def known_schedule(name: str, known: Sequence[Any]) -> list[int]:
    """The numbers of the schedules of this name; raises ``InvalidFilter`` if there is none."""
    found = [row["id"] for row in known if row["name"] == name]
    if not found:
        near = get_close_matches(name, [row["name"] for row in known], n=1, cutoff=NEAR_NAME)
        mend = f"Did you mean schedule:{near[0]}?" if near else "See 'fastapi-events schedules list'."
        raise InvalidFilter(f"schedule:{ascii(name)[1:-1][:80]} is no schedule of this group. {mend}")
    return found


def pool_jobs(name: str, known: Sequence[Any]) -> list[int]:
    """The numbers of a pool's jobs; raises ``InvalidFilter`` if there is none."""
    found = [row["id"] for row in known if row["pool"] == name]
    if not found:
        pools = sorted({row["pool"] for row in known})
        mend = f"The pools are {', '.join(pools[:20])}." if pools else "No job is registered yet."
        raise InvalidFilter(f"pool:{ascii(name)[1:-1][:80]} is no pool of this group. {mend}")
    return found


def _field(term: Term) -> str:
    return "not_source" if term.key == "source" and term.value.startswith("-") else term.key


def _value(term: Term) -> Any:
    if term.key in ("id", "parent", "root", "event"):
        return uuid_of(term)
    if term.key in ("after", "before"):
        return moment_of(term)
    if term.key == "cause":
        return fingerprint_of(term.value)
    if term.key == "state":
        return _one_of(term, term.value, STATES)
    if term.key == "source":
        return _one_of(term, term.value.removeprefix("-"), SOURCES)
    if term.key == "scope":
        return _scope(term.value)
    return term.value


def _one_of(term: Term, value: str, known: Sequence[str]) -> str:
    if value in known:
        return value
    near = get_close_matches(value, known, n=1)
    mend = f"Did you mean {near[0]}?" if near else f"It is one of {', '.join(known)}."
    raise InvalidFilter(f"{term.key}:{term.value[:40]} does not exist. {mend}")


def _scope(value: str) -> tuple[str, str]:
    kind, slash, number = value.partition("/")
    if not (kind and slash and number):
        raise InvalidFilter(f"scope:{value[:40]} is not type and id. Write scope:account/42.")
    return kind, number
