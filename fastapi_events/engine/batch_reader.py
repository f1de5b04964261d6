"""Reading batches of a lane, in a size that the server manages in time."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence

from fastapi_events.engine.infrastructure import sqlstate_of
from fastapi_events.store.cursors import Batch, CursorStore, HeldPartition
from fastapi_events.store.database import STATEMENT_TIMEOUT

logger = logging.getLogger("fastapi_events")

QUERY_CANCELED = "57014"
SHRINK = 8
"""By what a batch that took too long to read is divided: each try costs seconds, growing again costs nothing."""


class BatchReader:
    """Claims one batch after the other; ``looked_everywhere`` is when it last looked at every partition (loop time).

    Once in ``patience`` seconds it takes free partitions beyond this process's fair share: somebody whose share they
    are may be held up for long by what it has.
    """

    def __init__(self, name: str, cursors: CursorStore, size: int, patience: Callable[[], float]) -> None:
        self._name, self._cursors, self._patience = name, cursors, patience
        self._full_size = self._size = size
        self._was_greedy = math.inf
        self.looked_everywhere = -math.inf

    async def read(self, held: Sequence[HeldPartition], free: Sequence[int] | None) -> Batch:
        """Claim a batch: much smaller after one that took too long, and twice as large again while they come fast.

        ``free`` names the partitions to look at beside those held (None: all).
        """
        now = asyncio.get_running_loop().time
        began, size = now(), self._size
        self._was_greedy = min(self._was_greedy, began)
        greedy = began - self._was_greedy >= self._patience()
        try:
            batch = await self._cursors.claim(held, size, free=free, greedy=greedy)
        except Exception as error:
            if isinstance(error, TimeoutError) or sqlstate_of(error) == QUERY_CANCELED:
                self._size = max(min(self._size, size // SHRINK), 1)
                logger.warning("%s: reading %d events took too long; from now on %d", self._name, size, self._size)
            raise
        if free is None:
            self.looked_everywhere = began
        if greedy:
            self._was_greedy = began
        # One that brought nothing says nothing: the server holds on for a while to what was claimed and never arrived.
        if batch.size and size < self._full_size and now() - began < STATEMENT_TIMEOUT / 4:
            self._size = min(size * 2, self._full_size)
        return batch
