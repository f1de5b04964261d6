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


class Violation(AssertionError):
    """A promise is broken."""


class Leases:
    """The newest claim of each partition and key; ``claims`` are the ticks at which a lane was read."""

    def __init__(self) -> None:
        self.claims: list[int] = []
        self._partitions: dict[int, tuple[int, Process]] = {}
        self._keys: dict[tuple[int, str], tuple[int, Process]] = {}
        self._read: dict[tuple[Process, int], int] = {}
        self._in_batches: dict[tuple[Process, int], int] = {}
        self._keys_claimed: dict[Process, int] = {}
        self._pause_seen: dict[tuple[Process, int], int] = {}

    def has_partition(self, process: Process, partition: int) -> bool:
        """Whether nobody has claimed the partition since the process did."""
        return self._partitions.get(partition, (0, None))[1] is process

    def has_key(self, process: Process, handler: int, slots: Collection[str]) -> bool:
        """Whether nobody has claimed the parked key since the process did, nor has it given it back."""
        return any(self._keys.get((handler, slot), (0, None))[1] is process for slot in slots)

    def is_in_batch(self, process: Process, position: int) -> bool:
        """Whether the process has the event in a batch that it has not settled: an attempt may be that batch's."""
        return (process, position) in self._in_batches

    def is_claimed_in_pause(self, process: Process, handler: int, position: int) -> bool:
        """Whether the process asked for the event when it knew that the handler is paused, and knows so still."""
        seen, asked = self._pause_seen.get((process, handler)), self._read.get((process, position))
        return process.knows_paused(handler) and seen is not None and asked is not None and asked > seen

    def look(self, workers: Iterable[Worker], handlers: Collection[int], tick: int) -> None:
        """Note what the workers know of pauses."""
        for worker in workers:
            for number in handlers:
                if worker.knows_paused(number):
                    self._pause_seen.setdefault((worker, number), tick)
                else:
                    self._pause_seen.pop((worker, number), None)

    def answered(self, call: Call, rows: Any, tick: int) -> None:
        """A statement has been carried out: who has which lease, and did a worker without one change anything?"""
        process = call.process
        match call.label:
            case "claim_windows":
                self.claims.append(tick)
                self._note_claim(process, rows, call.issued)
            case "claim_keys":
                self._keys_claimed[process] = call.issued
                for row in rows:
                    self._keys[row["handler_id"], row["slot"]] = row["token"], process
            case "read_queue":
                for row in rows:
                    if row["position"] is not None:
                        self._read[process, row["position"]] = self._keys_claimed.get(process, tick)
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

    def _note_claim(self, process: Process, rows: Any, issued: int) -> None:
        for row in rows:
            if row["position"] is not None:
                self._read[process, row["position"]] = issued
                self._in_batches[process, row["position"]] = row["partition"]
                continue
            seq = json.loads(row["payload"])["seq"]
            if seq > self._partitions.get(row["partition"], (0, None))[0]:
                self._partitions[row["partition"]] = seq, process

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

    def _note_key_settled(self, process: Process, handler: int, slot: str, token: int) -> None:
        owner = self._keys.get((handler, slot))
        if token < DETACHED_TOKENS and (owner is None or owner != (token, process)):
            raise Violation(f"{process.name} settles the key {slot} of handler {handler}, whose claim it has lost")
