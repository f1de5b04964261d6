"""How many handlers run at once, by pool: what is given goes over the defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import cast

RESERVED_POOLS: dict[str, int] = {"events_inbound": 20, "events_change": 30, "events_outbound": 10, "events_replay": 4}
"""The pools that handlers of each lane, and replays, run in, and how many at once by default."""
JOB_POOLS: dict[str, int] = {"interactive": 20, "batch": 5}
"""The pools of jobs that are there without being named, and how many run at once by default."""
POOLS = RESERVED_POOLS | JOB_POOLS
_POOL_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")


def by_pool(value: object) -> dict[str, int]:
    """The number for every pool, from a mapping or from text such as ``events_change=50,events_outbound=5``.

    A name that is no pool of events is one of jobs, and makes it. Raises ``ValueError`` for what can be no pool, or is
    a slip of the pen for one, and for a number below 1.
    """
    if not isinstance(value, str | Mapping):
        raise ValueError("it must be numbers by pool, such as events_change=50,events_outbound=5")  # noqa: TRY004 - shown
    given = _parsed(value) if isinstance(value, str) else cast("Mapping[object, object]", value)
    numbers = dict(POOLS)
    for name, number in given.items():
        if name not in POOLS:
            near = get_close_matches(str(name), POOLS, n=1, cutoff=0.85)
            if near or str(name).startswith("events_") or not _POOL_NAME.match(str(name)):
                hint = f"Did you mean {near[0]!r}?" if near else f"The pools of events are {', '.join(RESERVED_POOLS)}."
                raise ValueError(f"it names no pool: {ascii(name)[:80]}. {hint}")
        if type(number) is not int or number < 1:
            raise ValueError(f"it must give {name} a whole number from 1, not {ascii(number)[:80]}")
        numbers[str(name)] = number
    return numbers


def _parsed(text: str) -> dict[object, object]:
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): int(number) if number.strip().isdecimal() else number for name, _, number in pairs}
