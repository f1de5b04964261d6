"""How many handlers run at once, by pool: what is given goes over the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import cast

RESERVED_POOLS: dict[str, int] = {"events_inbound": 20, "events_change": 30, "events_outbound": 10, "events_replay": 4}
"""The pools that handlers of each lane, and replays, run in, and how many at once by default."""


def by_pool(value: object) -> dict[str, int]:
    """The number for every pool, from a mapping or from text such as ``events_change=50,events_outbound=5``.

    Raises ``ValueError`` for a pool that does not exist, or a number below 1.
    """
    if not isinstance(value, str | Mapping):
        raise ValueError("it must be numbers by pool, such as events_change=50,events_outbound=5")  # noqa: TRY004 - shown
    given = _parsed(value) if isinstance(value, str) else cast("Mapping[object, object]", value)
    numbers = dict(RESERVED_POOLS)
    for name, number in given.items():
        if name not in RESERVED_POOLS:
            near = get_close_matches(str(name), RESERVED_POOLS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The pools are {', '.join(RESERVED_POOLS)}."
            raise ValueError(f"it names no pool: {ascii(name)[:80]}. {hint}")
        if type(number) is not int or number < 1:
            raise ValueError(f"it must give {name} a whole number from 1, not {ascii(number)[:80]}")
        numbers[str(name)] = number
    return numbers


def _parsed(text: str) -> dict[object, object]:
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): int(number) if number.strip().isdecimal() else number for name, _, number in pairs}
