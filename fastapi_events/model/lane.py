"""Lanes and partitions: by which direction, and by which share of the keys, a group reads the log."""

from __future__ import annotations

from typing import Literal, NewType
from zlib import crc32

from fastapi_events.model.event import EventOptions

Lane = Literal["inbound", "change", "outbound"]
LaneNumber = NewType("LaneNumber", int)
Partition = NewType("Partition", int)
LogPlace = NewType("LogPlace", int)
"""A partition of a lane as one number, lane × 1024 + partition, which is also what the log's index has."""

LANES: dict[Lane, LaneNumber] = {"inbound": LaneNumber(0), "change": LaneNumber(1), "outbound": LaneNumber(2)}
LANE_NAMES: dict[int, Lane] = {number: name for name, number in LANES.items()}
AUDIT = LaneNumber(3)
"""Where audit events are stored; no drain reads it."""


PLACES_PER_LANE = 1024


def place_of(lane: int, partition: int) -> LogPlace:
    """The one number of a partition of a lane."""
    return LogPlace(lane * PLACES_PER_LANE + partition)


def lane_of(options: EventOptions) -> LaneNumber:
    """The lane that carries an event of these options."""
    return AUDIT if options.tier == "audit" else LANES[options.direction]


def partition_of(key: str, partitions: int) -> Partition:
    """The partition of an ordering key: its CRC-32 modulo the number fixed when the schema was made."""
    return Partition(crc32(key.encode()) % partitions)
