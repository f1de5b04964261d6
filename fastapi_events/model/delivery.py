"""Deliveries: one event for one handler, as the handler sees it and as the store keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

DeliveryState = Literal["waiting", "running", "retrying", "dead", "discarded", "done"]
WaitReason = Literal[
    "retry",
    "no_handler",
    "trigger_unregistered",
    "key_blocked",
    "breaker_open",
    "paused",
    "redrive",
    "detached",
    "crash_suspect",
    "catching_up",
]
DeadReason = Literal[
    "max_attempts",
    "gave_up",
    "timed_out",
    "undecodable",
    "invalid_payload",
    "crashed_worker",
    "cascade_limit",
    "rejected_by_handler",
    "unsettleable",
    "erased",
]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a handler may know about the delivery it is handling; inject it by annotating a parameter with it.

    ``attempt`` counts from 1. ``redelivered`` is true when an earlier try may have run already: hand
    ``idempotency_key`` on to outside services that can deduplicate. ``deadline`` is when the attempt times out,
    in UTC by the clock of the process. ``replay_id`` is set where a replay delivers the event once more:
    the idempotency key is that of its first delivery then.
    """

    event_id: UUID
    name: str
    position: int
    attempt: int
    redelivered: bool
    idempotency_key: str
    correlation_id: UUID
    causation_id: UUID | None
    tenant_id: str | None
    headers: Mapping[str, str]
    deadline: datetime
    published_at: datetime
    replay_id: UUID | None = None
