"""Who has fallen silent, and over what: by which rule an event may be dead as one that ends its processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.properties.leases import Violation
from tests.properties.process import LEASE

if TYPE_CHECKING:
    from tests.properties.connections import Call
    from tests.properties.process import Process

MAX_CRASHES = 3
"""The setting's default."""
READING = 1.0
"""Seconds that readings of the server's clock may have added to it."""


@dataclass
class Sign:
    """The newest sign of life of a process that is registered, and what it has said that it runs alone."""

    at: float
    alone_with: str | None = None


class Silence:
    """Judges from the statements alone that the server has carried out, by the server's clock."""

    def __init__(self) -> None:
        self._now = 0.0
        self._signs: dict[Process, Sign] = {}
        self._verdicts: dict[str, tuple[int, int]] = {}

    def pass_time(self, seconds: float) -> None:
        """The server's clock is set, forwards or back."""
        self._now += seconds

    def answered(self, call: Call, rows: Any) -> None:
        """A statement has been carried out, whether or not its process hears of it."""
        match call.label:
            case "register_worker":
                self._signs[call.process] = Sign(self._now)
            case "heartbeat" if rows and call.process in self._signs:
                self._signs[call.process].at = self._now
            case "remove_worker":
                self._signs.pop(call.process, None)
            case "begin_alone" if call.process in self._signs:
                delivery = str(call.arguments[1])
                self._verdicts[delivery] = self._count(call.process, delivery)
                self._signs[call.process].alone_with = delivery
            case "end_alone" if call.process in self._signs:
                self._signs[call.process].alone_with = None
            case _:
                pass

    def forget(self, delivery: str) -> None:
        """It has been tried, or an operator has acted: who fell silent over it before counts no more."""
        for sign in self._signs.values():
            if sign.alone_with == delivery:
                sign.alone_with = ""

    def check_verdict(self, what: str, delivery: str) -> None:
        """Enough processes were silent that ran it alone, and more for each that was silent for no known reason."""
        crashes, accidents = self._verdicts.get(delivery, (0, 0))
        if crashes < MAX_CRASHES + min(accidents, 2 * MAX_CRASHES):
            raise Violation(f"{what} for crashed_worker: {crashes} fell silent over it, and {accidents} otherwise")

    def _count(self, process: Process, delivery: str) -> tuple[int, int]:
        silent = {one: sign for one, sign in self._signs.items() if sign.at + LEASE < self._now + READING}
        over = [sign.at for one, sign in silent.items() if sign.alone_with == delivery and one is not process]
        since = min(over, default=self._now)
        surely = [sign for sign in silent.values() if sign.at + LEASE + READING < self._now]
        accidents = [sign for sign in surely if sign.alone_with is None and sign.at > since]
        return len(over), len(accidents)
