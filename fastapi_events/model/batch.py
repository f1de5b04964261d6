"""``batch=``: the options of a handler that is given lists of events, checked where it is written."""

from __future__ import annotations

from typing import Any

from fastapi_events.errors import ContradictoryOptions

LARGEST_BATCH = 10_000
"""What the setting ``batch_size`` may be at most: no list is longer than what its lane reads at once."""


def checked_batch(batch: Any, owner: str, *, broadcast: bool) -> int | None:
    """The largest size of a list; raises ``ContradictoryOptions`` for what cannot be one."""
    if batch is None:
        return None
    if type(batch) is not int or not 1 <= batch <= LARGEST_BATCH:
        raise ContradictoryOptions(
            f"{owner}: batch={ascii(batch)[:80]} is not a size. It is the largest number of events in a list, a whole "
            f"number from 1 to {LARGEST_BATCH}: write batch=500."
        )
    if broadcast:
        raise ContradictoryOptions(
            f"{owner}: batch= does not go with broadcast=True: a broadcast handler is called with one event after the "
            "other, in every process. Leave batch= out, or broadcast=True."
        )
    return batch
