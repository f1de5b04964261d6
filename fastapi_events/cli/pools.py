"""``pools set`` and ``reset``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi_events.cli.connecting import operators_of
from fastapi_events.cli.terminal import clean, print_json, say


@dataclass(frozen=True, slots=True)
class PoolResized:
    """What became of a pool: ``concurrency`` is null where the settings say it; nothing ``changed`` if it was so."""

    act: str
    pool: str
    concurrency: int | None
    changed: bool


async def resize_pool(
    events: Any, pool: str, number: int | None, *, actor: str, reason: str, as_json: bool
) -> int:  # fmt: skip
    """Say how much of a pool is done at once in each process; None: as the settings say."""
    async with operators_of(events) as operators:
        operations, record = operators.operations, {"actor": actor, "reason": reason}
        if number is None:
            changed = await operations.reset_pool(pool, **record)
        else:
            changed = await operations.set_pool(pool, number, **record)
    if as_json:
        print_json(PoolResized("reset" if number is None else "set", pool, number, changed))
        return 0
    holds = "as the settings say" if number is None else f"{number:,} at once in each process"
    said = holds if changed else f"nothing was changed, it was {holds}"
    say(clean(f"{pool} of the group {events.group}: {said}."))
    return 0
