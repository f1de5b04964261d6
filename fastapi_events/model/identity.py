"""Identifiers: time-ordered ones for new rows, derived ones where the same cause must give the same id."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from uuid import UUID

import uuid_utils.compat as uuid_utils

_EXTERNAL = UUID("6f4c9a52-1d0e-5b7a-9d55-0f6f3a1f2c11")
_CHILD = UUID("c0a5f3de-7b1c-5e0f-8f0a-2f7d9b8e4a22")
_MARK = UUID("1e8f0c77-52aa-5c3b-a7d1-94c1d4b6e533")
_TRIGGERED = UUID("a91d6b30-3f5e-5d84-9c02-7be1f0c4d6a7")
_STARTED_WITH = UUID("d2c7e918-60ab-5f13-8e4d-15a9c3b07f26")
_SCHEDULED = UUID("58f0b3c4-9d17-5e6a-b2c8-3a4d7e91f0b5")


def new_id() -> UUID:
    """A fresh UUIDv7 (RFC 9562): unique, and in time order to the millisecond."""
    return uuid_utils.uuid7()


def deterministic_id(source: str, external_id: str) -> UUID:
    """The event id that belongs to an upstream system's own id: the same pair always gives the same UUID.

    A webhook delivered twice and a back-fill of the same record then publish one event. The id is a UUIDv5
    (RFC 9562) of the two strings, each preceded by its length so that no two pairs can meet.
    """
    return uuid.uuid5(_EXTERNAL, f"{len(source)}:{source}{len(external_id)}:{external_id}")


def child_event_id(parent: UUID, handler_id: str, ordinal: int) -> UUID:
    """The id of the ``ordinal``-th event that ``handler_id`` publishes while it handles ``parent``."""
    return uuid.uuid5(_CHILD, f"{parent}:{ordinal}:{handler_id}")


def triggered_run_id(event: UUID, trigger: int) -> UUID:
    """The id of the run that an event starts by the trigger of this number in the database: whoever starts it."""
    return uuid.uuid5(_TRIGGERED, f"{event}:{trigger}")


def run_id_with_event(event: UUID, job: int) -> UUID:
    """The id of the run that is started together with an event by which no trigger of the job starts one."""
    return uuid.uuid5(_STARTED_WITH, f"{event}:{job}")


def scheduled_run_id(schedule: int, tick: datetime) -> UUID:
    """The id of the run that a schedule of this number in the database starts at a tick: whoever starts it."""
    return uuid.uuid5(_SCHEDULED, f"{schedule}:{tick.astimezone(UTC).isoformat()}")


def mark_key(idempotency_key: str) -> UUID:
    """A fixed-size key for a user's idempotency key, as the processing marks store it."""
    return uuid.uuid5(_MARK, idempotency_key)
