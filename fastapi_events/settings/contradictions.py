"""Settings that are right one by one and wrong together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Contradiction:
    """One rule between settings: the one to mend first, the others it concerns, the test, and what to say."""

    setting: str
    others: tuple[str, ...]
    holds: Callable[[Any], bool]
    rule: str

    @property
    def concerns(self) -> tuple[str, ...]:
        """Every setting whose value decides whether the rule holds."""
        return (self.setting, *self.others)

    def text(self, settings: Any) -> str:
        """The rule with the values that break it."""
        return self.rule.format_map({name: _shown(getattr(settings, name)) for name in self.concerns})


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


CONTRADICTIONS = (
    Contradiction(
        "heartbeat",
        ("lease",),
        lambda s: s.heartbeat < s.lease / 2,
        "it must be less than half of lease, so that one late renewal loses nothing, but it is {heartbeat} s and "
        "lease is {lease} s. Lower heartbeat or raise lease.",
    ),
    Contradiction(
        "backoff_cap",
        ("backoff_first",),
        lambda s: s.backoff_first <= s.backoff_cap,
        "it may not be below backoff_first, but it is {backoff_cap} s and backoff_first is {backoff_first} s. "
        "Raise backoff_cap or lower backoff_first.",
    ),
    Contradiction(
        "warn_payload_size",
        ("max_payload_size",),
        lambda s: s.warn_payload_size <= s.max_payload_size,
        "it may not be above max_payload_size, but it is {warn_payload_size} bytes and max_payload_size is "
        "{max_payload_size} bytes. Lower warn_payload_size or raise max_payload_size.",
    ),
    Contradiction(
        "immediate",
        ("enabled",),
        lambda s: s.enabled or not s.immediate,
        "handlers are to run before a commit returns, but enabled is {enabled}: this process is to handle nothing. Set "
        "immediate or enabled to the other value.",
    ),
    Contradiction(
        "immediate",
        ("worker",),
        lambda s: s.worker == "embedded" or not s.immediate,
        "handlers are to run in the process that commits, but worker is {worker}: other processes handle the events. "
        "Leave immediate out, or set worker to embedded.",
    ),
)
