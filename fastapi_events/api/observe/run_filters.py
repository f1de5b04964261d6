"""Filters of runs as people write them: ``job:inventory.restock state:failed``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args
from uuid import UUID

from fastapi_events.api.observe.filters import Term, terms_of, uuid_of
from fastapi_events.errors import InvalidFilter
from fastapi_events.model.job_context import RunState

RUN_TERMS = ("job", "state", "scope", "tag", "pool", "tenant", "parent", "root", "id")
STATES: tuple[RunState, ...] = get_args(RunState)


@dataclass(frozen=True, slots=True)
class RunsFilter:
    """A filter of runs, understood; None is any."""

    terms: tuple[Term, ...] = ()
    job: str | None = None
    state: RunState | None = None
    scope: tuple[str, str] | None = None
    tag: str | None = None
    pool: str | None = None
    tenant: str | None = None
    parent: UUID | None = None
    root: UUID | None = None
    id: UUID | None = None


def parse_run_filter(text: str) -> RunsFilter:
    """Understand a filter of runs; raises ``InvalidFilter`` naming the term, the rule and the mend.

    Terms are joined by "and". ``job:`` and ``pool:`` take a name, ``state:`` one of pending, running, completed,
    failed, timed_out and canceled, ``scope:`` type and id as in ``account/42``, ``root:`` the run that a tree began
    with, ``parent:`` the run that has spawned others. A bare word is a run's id or a job's name.
    """
    terms = tuple(terms_of(text, RUN_TERMS, names="job"))
    fields: dict[str, Any] = {term.key: _value(term) for term in terms}
    wanted = RunsFilter(terms, **fields)
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
        near = get_close_matches(name, [row["name"] for row in known], n=1)
        mend = f"Did you mean job:{near[0]}?" if near else "See 'fastapi-events jobs kinds' for those that there are."
        raise InvalidFilter(f"job:{ascii(name)[1:-1][:80]} is no job of this group. {mend}")
    return found


def pool_jobs(name: str, known: Sequence[Any]) -> list[int]:
    """The numbers of a pool's jobs; raises ``InvalidFilter`` if there is none."""
    found = [row["id"] for row in known if row["pool"] == name]
    if not found:
        pools = sorted({row["pool"] for row in known})
        mend = f"The pools are {', '.join(pools[:20])}." if pools else "No job is registered yet."
        raise InvalidFilter(f"pool:{ascii(name)[1:-1][:80]} is no pool of this group. {mend}")
    return found


def _value(term: Term) -> Any:
    if term.key in ("id", "parent", "root"):
        return uuid_of(term)
    if term.key == "state":
        return _state(term.value)
    if term.key == "scope":
        return _scope(term.value)
    return term.value


def _state(value: str) -> RunState:
    for state in STATES:
        if state == value:
            return state
    near = get_close_matches(value, STATES, n=1)
    mend = f"Did you mean {near[0]}?" if near else f"It is one of {', '.join(STATES)}."
    raise InvalidFilter(f"state:{value[:40]} does not exist. {mend}")


def _scope(value: str) -> tuple[str, str]:
    kind, slash, number = value.partition("/")
    if not (kind and slash and number):
        raise InvalidFilter(f"scope:{value[:40]} is not type and id. Write scope:account/42.")
    return kind, number
