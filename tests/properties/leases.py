"""Who has claimed what, as the answers of the server tell it: the leases of partitions and of parked keys."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.properties.connections import Call
    from tests.properties.process import Process, Worker

DETACHED_TOKENS = 1 << 32
"""Tokens above are drawn by the worker that detaches an attempt."""

LOST = 0
"""In place of the number of a tenure: the partition was somebody else's when the batch was read."""


class Violation(AssertionError):
    """A promise is broken."""


class Leases:
    """The newest claim of each partition and key; ``claims`` are the ticks at which a lane was read."""

    def __init__(self) -> None:
        self.claims: list[int] = []
        self._partitions: dict[int, tuple[int, Process]] = {}
        self._tenures: dict[int, int] = {}
        self._batches: dict[tuple[Process, int], set[int]] = {}
        self._keys: dict[tuple[int, str], tuple[int, Process]] = {}
        self._read: dict[tuple[Process, int], int] = {}
        self._in_batches: dict[tuple[Process, int], int] = {}
        self._keys_claimed: dict[Process, int] = {}
        self._pause_seen: dict[tuple[Process, int, str], int] = {}

    def has_batch(self, process: Process, partition: int, position: int) -> bool:
        """Whether an attempt at the event can only be of a batch that its process may settle.

        A process that has lost a partition, and has claimed it again, may still be at work on the batch from before: an
        event that it has read both times may be either's.
        """
        holder = self._partitions.get(partition, (0, None))[1]
        return holder is process and self._batches.get((process, position)) == {self._tenures[partition]}

    def has_key(self, process: Process, handler: int, slots: Collection[str]) -> bool:
        """Whether nobody has claimed the parked key since the process did, nor has it given it back."""
        return any(self._keys.get((handler, slot), (0, None))[1] is process for slot in slots)

    def is_in_batch(self, process: Process, position: int) -> bool:
        """Whether the process has the event in a batch that it has not settled: an attempt may be that batch's."""
        return (process, position) in self._in_batches

    def is_claimed_in_pause(self, process: Process, handler: int, position: int) -> bool:
        """Whether the process asked for the event when it knew of a pause of the handler, of which it knows still.

        The pause of a lane keeps from claiming alone, that of a handler from being called: one may follow the other.
        """
        asked = self._read.get((process, position))
        seen = [self._pause_seen.get((process, handler, kind)) for kind in process.pauses_known(handler)]
        return asked is not None and any(asked > tick for tick in seen if tick is not None)

    def look(self, workers: Iterable[Worker], handlers: Collection[int], tick: int) -> None:
        """Note what the workers know of pauses."""
        for worker in workers:
            for number in handlers:
                known = worker.pauses_known(number)
                for kind in ("lane", "handler"):
                    if kind in known:
                        self._pause_seen.setdefault((worker, number, kind), tick)
                    else:
                        self._pause_seen.pop((worker, number, kind), None)

    def answered(self, call: Call, rows: Any, tick: int, *, heard: bool) -> None:
        """A statement has been carried out: who has which lease, and did a worker without one change anything?

        ``heard`` is whether the process gets the answer.
        """
        process = call.process
        match call.label:
            case "claim_windows":
                self.claims.append(tick)
                self._note_claim(process, rows, call.issued, heard=heard)
            case "claim_keys" | "claim_suspect":
                self._keys_claimed[process] = call.issued
                for row in rows:
                    self._keys[row["handler_id"], row["slot"]] = row["token"], process
            case "read_queue":
                for row in rows:
                    if row["position"] is not None:
                        self._read[process, row["position"]] = self._keys_claimed.get(process, tick)
            case "release_keys" | "doubt_keys":
                for claim in zip(*call.arguments[:3], strict=True):
                    self._note_given_back(process, *claim)
            case "settle_batch":
                for row in rows:
                    self._note_settled(process, row["partition"], row["seq"])
            case "settle_key" if rows:
                self._note_key_settled(process, *call.arguments[:3])
                call.connection.settling = call.arguments[0], call.arguments[1]
            case "COMMIT" if call.connection.settling is not None:
                key, call.connection.settling = call.connection.settling, None
                if self._keys.get(key, (0, None))[1] is process:
                    del self._keys[key]
            case _:
                pass

    def _note_claim(self, process: Process, rows: Any, issued: int, *, heard: bool) -> None:
        tenures: dict[int, int] = {}
        for row in [row for row in rows if row["position"] is None]:
            partition, seq = row["partition"], json.loads(row["payload"])["seq"]
            if seq > self._partitions.get(partition, (0, None))[0]:
                self._partitions[partition] = seq, process
                self._tenures[partition] = self._tenures.get(partition, 0) + 1
            # What is read for a partition that others have claimed since is of a batch that cannot be settled.
            is_current = self._partitions.get(partition) == (seq, process)
            tenures[partition] = self._tenures.get(partition, 0) if is_current else LOST
        for row in [row for row in rows if row["position"] is not None and heard]:
            place = process, row["position"]
            self._read[place] = issued
            self._in_batches[place] = row["partition"]
            self._batches.setdefault(place, set()).add(tenures[row["partition"]])

    def _note_settled(self, process: Process, partition: int, seq: int) -> None:
        owner = self._partitions.get(partition)
        if owner is None or owner[1] is not process:
            raise Violation(
                f"{process.name} settles partition {partition}, which {owner and owner[1].name} has taken over"
            )
        self._partitions[partition] = seq, process
        for place in [
            place for place, number in self._in_batches.items() if place[0] is process and number == partition
        ]:
            del self._in_batches[place]

    def _note_given_back(self, process: Process, handler: int, slot: str, token: int) -> None:
        if self._keys.get((handler, slot)) == (token, process):
            del self._keys[handler, slot]

    def _note_key_settled(self, process: Process, handler: int, slot: str, token: int) -> None:
        owner = self._keys.get((handler, slot))
        if token < DETACHED_TOKENS and (owner is None or owner != (token, process)):
            raise Violation(f"{process.name} settles the key {slot} of handler {handler}, whose claim it has lost")
