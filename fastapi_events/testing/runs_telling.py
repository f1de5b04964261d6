"""What an assertion about runs says when it fails, without secrets: all wording is here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi_events.model.job import Job
from fastapi_events.model.secrets import Place, holds_secret, inside, place_in
from fastapi_events.testing.input_fields import fields_of, value_of
from fastapi_events.testing.telling import HIDDEN_VALUE, MOST_SHOWN, shortened


def runs_instead(
    job: Job[Any, Any], asked: Mapping[str, object], everything: Sequence[Any], *, where: object, found: int,
    wanted: str,
) -> str:  # fmt: skip
    """Which run was looked for, how many there were, and what else was started. ``asked``: "" is the whole input."""
    place = place_in(job.input_type)
    told = [_told(name, value, place) for name, value in asked.items()] + (["where=..."] if where is not None else [])
    same = [one for one in everything if one.job == job.name]
    head = f"{', '.join([job.name, *told])}: {wanted} expected, {found or 'none'} started."
    lines = [f"  {_shown(one, asked, place, fields_of(job.input_type))}" for one in same[:MOST_SHOWN]]
    if len(same) > MOST_SHOWN:
        lines.append(f"  … and {len(same) - MOST_SHOWN} more")
    others = Counter(one.job for one in everything if one.job != job.name)
    rest = ", ".join(f"{other} ({count})" for other, count in sorted(others.items()))
    runs = "1 run" if len(same) == 1 else f"{len(same)} runs"
    of_job = f"Of {job.name} there {'is' if len(same) == 1 else 'are'} {runs}:" if same else f"{job.name} has no run."
    return "\n".join([head, of_job, *lines, f"Other jobs: {rest or 'none'}."])


def _shown(one: Any, asked: Mapping[str, object], place: Place, fields: Sequence[str]) -> str:
    """One run, what differs first: ``pending: sku='A-1' (not 'B-2'), quantity=3``."""
    values: dict[str, Any] = {name: value_of(one.input, name) for name in fields} or {"": one.input}
    differing = [name for name, wanted in asked.items() if name in values and values[name] != wanted]
    told = [f"{_told(n, values[n], place)} (not {_value(n, asked[n], place)})" for n in differing]
    told += [_told(name, value, place) for name, value in values.items() if name not in differing]
    return f"{one.state or 'uncommitted'}: {', '.join(told)}"


def _told(name: str, value: object, place: Place) -> str:
    return f"{name}={_value(name, value, place)}" if name else _value(name, value, place)


def _value(name: str, value: object, place: Place) -> str:
    # A model hides its own secrets nowhere but in an event: of anything else that holds one nothing is shown.
    hidden = value is not None and holds_secret(inside(place, name) if name else place)
    return repr(HIDDEN_VALUE) if hidden else shortened(value)
