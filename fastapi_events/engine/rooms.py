"""How much of what is scarce each handler may take."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Container


def rooms_of(
    handlers: Collection[int], room: int, probes: Collection[int], *, busy: Counter[int], most: int,
    stopped: Container[int],
) -> dict[int, int]:  # fmt: skip
    """How many more keys each handler may have at work: one whose attempts hang leaves half of what there is.

    ``busy`` has the keys at work by handler, of ``most`` at once; ``stopped`` handlers get none, and probes one.
    """
    others = most - busy.total()
    rooms = {number: min(math.ceil((others - busy[number]) / 2), room) for number in handlers if number not in stopped}
    return {number: keys for number, keys in rooms.items() if keys > 0} | dict.fromkeys(probes, 1)
