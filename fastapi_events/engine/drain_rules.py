"""The settings of a drain loop."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi_events.engine.dispatch import RecordSuccess
from fastapi_events.settings import EventsSettings


@dataclass(frozen=True, slots=True)
class DrainRules:
    """What a drain loop goes by; times in seconds."""

    batch_size: int
    concurrency: int
    heartbeat: float
    partitions: int
    record_success: RecordSuccess
    lease: float
    inline_budget: float
    contended_budget: float

    @classmethod
    def of(cls, settings: EventsSettings, partitions: int) -> DrainRules:
        """The rules that are the same for every lane of a process; the concurrency is the lane's own."""
        return cls(
            settings.batch_size, 0, settings.heartbeat, partitions, settings.record_success, settings.lease,
            settings.inline_budget, settings.contended_budget,
        )  # fmt: skip
