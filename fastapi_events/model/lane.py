"""Lanes and partitions: by which direction, and by which share of the keys, a group reads the log."""

from __future__ import annotations

from typing import Literal, NewType
from zlib import crc32

from fastapi_events.model.event import EventOptions

Lane = Literal["inbound", "change", "outbound"]
LaneNumber = NewType("LaneNumber", int)
Partition = NewType("Partition", int)

LANES: dict[Lane, LaneNumber] = {"inbound": LaneNumber(0), "change": LaneNumber(1), "outbound": LaneNumber(2)}
LANE_NAMES: dict[int, Lane] = {number: name for name, number in LANES.items()}
AUDIT = LaneNumber(3)
"""Where audit events are stored; no drain reads it."""


def lane_of(options: EventOptions) -> LaneNumber:
    """The lane that carries an event of these options."""
    return AUDIT if options.tier == "audit" else LANES[options.direction]


def partition_of(key: str, partitions: int) -> Partition:
    """The partition of an ordering key: its CRC-32 modulo the number fixed when the schema was made."""
    return Partition(crc32(key.encode()) % partitions)
