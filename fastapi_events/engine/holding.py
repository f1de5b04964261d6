"""The partitions that one drain loop holds: objects, so that a batch is settled only while its own are still held."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable

from fastapi_events.store.cursors import Batch, HeldPartition, PartitionBatch, Place

logger = logging.getLogger("fastapi_events")

Shares = list[tuple[HeldPartition, Place]]


class Holding:
    """What is held under lease, by partition number; ``lost`` is told how many were taken over by others."""

    def __init__(self, name: str, lost: Callable[[int], None]) -> None:
        self._name, self._lost = name, lost
        self._held: dict[int, HeldPartition] = {}

    @property
    def numbers(self) -> frozenset[int]:
        """The partitions held."""
        return frozenset(self._held)

    def holds(self, part: PartitionBatch) -> bool:
        """Whether the partition of this batch is still the one held."""
        return self._held.get(part.held.number) is part.held

    def enter(self, batch: Batch, kept: Collection[int]) -> None:
        """Note what a claim has brought; one of ``kept`` that was lost while it was read ahead stays lost."""
        self._held.update({number: part.held for number, part in batch.partitions.items() if number not in kept})

    def shares(self) -> Shares:
        """Everything held, at the place that the database has."""
        return [(held, held.settled) for held in self._held.values()]

    def release(self, parts: Iterable[PartitionBatch], keep: frozenset[int]) -> None:
        """Forget the partitions of a settled batch that are not kept."""
        for part in parts:
            if part.held.number not in keep and self.holds(part):
                del self._held[part.held.number]

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def take_over(self, shares: Shares, accepted: dict[int, int]) -> None:
        """Take over the new tokens of what was settled, and forget what others had taken."""
        for held, place in shares:
            token = accepted.get(held.number)
            if token is not None:
                held.crashes = held.crashes_at(place)
                held.seq, held.settled = token, place
            elif self._held.get(held.number) is held:
                del self._held[held.number]
        lost = len(shares) - len(accepted)
        if lost:
            self._lost(lost)
            logger.warning("%s: %d partition(s) had been taken over; their batch was not settled", self._name, lost)

    def forget_outlived(self, batch: Batch) -> None:
        """Forget partitions that were read ahead in one life of the server, and written to in another.

        A crash of the server takes back transactions that such a reading saw as ended, and gives their numbers out
        again: whoever gets them would count as seen. As long as the row that a reading stands on is younger than the
        reading and from before the crash, its survival proves that they have survived too. A connection that is lost
        while the server lives proves nothing against a reading.
        """
        outlived = [part for part in batch.partitions.values() if part.read_in != part.held.written_in]
        for part in filter(self.holds, outlived):
            del self._held[part.held.number]
            self._lost(1)
            logger.warning("%s: the server was restarted; partition %d is read again", self._name, part.held.number)
