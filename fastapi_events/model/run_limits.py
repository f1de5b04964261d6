"""What bounds one run: the keys that its job's options made of its input."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from fastapi_events.model.job import WHOLE_JOB, Job
from fastapi_events.model.job_limits import OnCollision

Refusal = Literal["duplicate", "rejected"]


@dataclass(slots=True)
class RunLimits:
    """The keys by which a run is bounded; None for what does not hold for it.

    ``existing`` is the answer of the database, once it has been asked: the run that stands for this one.
    """

    limit_key: str | None = None
    slots: int = 1
    on_collision: OnCollision = "queue"
    rate_key: str | None = None
    dedupe_key: str | None = None
    window: float | None = None
    """Seconds for which the dedupe key is taken; None until the run has ended, or begun."""
    until_started: bool = False
    existing: UUID | None = None
    refusal: Refusal | None = None
    """Why that one stands for it; None where it is there itself, by whoever has started it before."""
    unattended: bool = False
    """Whether nobody hears an error: what is rejected is noted, as a duplicate is."""

    @property
    def exclusive(self) -> bool:
        """Whether starts of its key look for it."""
        return self.limit_key is not None and self.on_collision != "queue"

    @property
    def asks(self) -> bool:
        """Whether the database must be asked when it is started."""
        return self.exclusive or self.dedupe_key is not None

    @property
    def told(self) -> str:
        """Why no run was started, for people."""
        if self.refusal == "duplicate":
            return f"run {self.existing} stands for it: it has the dedupe key {self.dedupe_key!a}"
        about = f" of the key {self.limit_key!a}" if self.limit_key else ""
        return (
            f"rejected: {self.slots} {'run' if self.slots == 1 else 'runs'}{about} had not ended, {self.existing} first"
        )

    def stored(self) -> str:
        """As the run keeps them: a JSON object."""
        freed = self.dedupe_key is not None and self.window is None
        return json.dumps(
            {
                "limit_key": self.limit_key,
                "rate_key": self.rate_key,
                "exclusive": self.exclusive or None,
                "slots": self.slots if self.exclusive else None,
                "dedupe_key": self.dedupe_key if freed else None,
                "window_key": None if freed else self.dedupe_key,
                "until_started": (self.until_started and freed) or None,
            },
            ensure_ascii=False,
        )


def limits_of(job: Job[Any, Any], value: Any, text: str, tenant: str | None) -> RunLimits | None:
    """What bounds a run with this input, whose stored form is ``text``; None for nothing. Raises ``InvalidInput``.

    Keys are a tenant's own; without a key, ``Concurrency`` and ``RateLimit`` hold for all tenants together.
    """
    concurrency, dedupe = job.concurrency, job.dedupe
    if concurrency is None and dedupe is None and job.rate_limit is None:
        return None
    limits = RunLimits(
        limit_key=_own(job.concurrency_key(value), tenant), rate_key=_own(job.rate_limit_key(value), tenant),
        dedupe_key=_own(job.dedupe_key(value, text), tenant),
    )  # fmt: skip
    if limits.limit_key is None and limits.rate_key is None and limits.dedupe_key is None:
        return None
    if concurrency is not None:
        limits.slots, limits.on_collision = concurrency.limit, concurrency.on_collision
    if dedupe is not None:
        limits.window, limits.until_started = dedupe.window, dedupe.until == "started"
    return limits


def _own(key: str | None, tenant: str | None) -> str | None:
    return key if key in (None, WHOLE_JOB) or tenant is None else f"{tenant}/{key}"
