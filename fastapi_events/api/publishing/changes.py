"""What one transaction has done to one row, as far as its flushes have come.

Nobody outside sees the states in between: when the transaction commits, a row is told of once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Operation = Literal["created", "updated", "deleted"]

Values = Mapping[str, tuple[Any, Any]]
"""Per column attribute the value before, and the one after."""


@dataclass(frozen=True, slots=True)
class Change:
    """One flush's change of a row, together with those before it in the same transaction.

    ``row`` stands for the row's life: one that is deleted and inserted anew has two. ``key`` finds it in the next
    flush. ``existed`` and ``exists`` say whether it was there before the transaction and is now; ``told`` whether there
    is an event for the outcome.
    """

    key: object
    existed: bool
    exists: bool
    values: Values = field(default_factory=dict[str, tuple[Any, Any]])
    row: object = field(default_factory=object)
    told: bool = False

    @property
    def outcome(self) -> Operation | None:
        """What the transaction has done in all; None if the row is as it was before, or never was."""
        if not self.existed:
            return "created" if self.exists else None
        if not self.exists:
            return "deleted"
        return "updated" if self.values else None
