"""How much is done at once on memory: what the settings say."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi_events.store.pools import PoolStore, SaidOfPools


class MemoryPools(PoolStore):
    """Nobody has said anything of pools."""

    def __init__(self) -> None:
        """It asks nobody."""

    async def read(self, group: int) -> SaidOfPools:  # noqa: ARG002 - there is one
        return SaidOfPools({}, 0)

    async def names(self, group: int) -> Sequence[str]:  # noqa: ARG002
        return ()
