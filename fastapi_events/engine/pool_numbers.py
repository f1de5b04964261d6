"""How much this process does at once, by pool: the settings' numbers, and over them what operators have said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from fastapi_events.store.pools import PoolStore

REPLAYS = "events_replay"
OF_ITS_OWN = 5
"""Of a pool that the settings do not name."""


class Sized(Protocol):
    """What does so much at once, which can be changed while it works: what is at work goes on."""

    @property
    def concurrency(self) -> int: ...

    @concurrency.setter
    def concurrency(self, limit: int) -> None: ...


class PoolNumbers:
    """The numbers that hold, and who is to be told of others."""

    def __init__(self, store: PoolStore, settings: Mapping[str, int]) -> None:
        self._store, self._settings = store, settings
        self._said: dict[str, int] = {}
        self._revision = 0
        self._told: list[tuple[Callable[[], int], Sized]] = []

    def of(self, *pools: str) -> int:
        """How many at once in these pools together."""
        return sum(self._said.get(pool, self._settings.get(pool, OF_ITS_OWN)) for pool in pools)

    def tell(self, sized: Sized, *pools: str) -> None:
        """Have it resized whenever the number of these pools together is another one."""
        self._told.append((lambda: self.of(*pools), sized))

    async def read(self, group_id: int) -> None:
        """Learn what holds in a group."""
        self._said, self._revision = await self._store.read(group_id)
        for number, sized in self._told:
            sized.concurrency = number()

    async def revised(self, group_id: int, newest: int) -> bool:
        """Which revision is the newest: read anew if another one is known here; says whether it was."""
        if newest == self._revision:
            return False
        await self.read(group_id)
        return True


def lane_pools(lanes: Sequence[str]) -> list[str]:
    """The pools of these lanes."""
    return [f"events_{lane}" for lane in lanes]
