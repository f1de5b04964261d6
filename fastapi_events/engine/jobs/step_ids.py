"""The ids of one attempt's steps: each its own, and the same in each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi_events.errors import DuplicateStep, InvalidJob, UnstableSteps


class StepIds:
    """What has been asked for so far; ``owner`` is what errors name."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._seen: set[str] = set()
        self._counts: dict[str, int] = {}

    def own(self, kind: str, chosen: Any = None) -> str:
        """What is not a function's step is told apart by its order, or by an id if it has one."""
        if chosen is None:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            return f"{kind}:{self._counts[kind]}"
        self._note(kind, chosen)
        return f"{kind}:{chosen}"

    def take(self, name: Any) -> None:
        """Note a step's id; raises ``InvalidJob`` for one that cannot be, ``DuplicateStep`` if it was there before."""
        self._note("step", name)

    def _note(self, kind: str, name: Any) -> None:
        if not isinstance(name, str) or not name or len(name) > 200 or ":" in name or name.isdecimal():
            raise InvalidJob(
                f"{self._owner}: {kind} {ascii(name)[:80]}: an id is a text of 1 to 200 characters, without colons, "
                "and not a number alone. Write e.g. 'charge' or f'charge-{line.id}'."
            )
        seen = name if kind == "step" else f"{kind}:{name}"
        if seen in self._seen:
            raise DuplicateStep(
                f"{self._owner}: {kind} {name!r} was asked for twice in one attempt: the second would get the "
                "first one's result. Give each an id of its own, in a loop with what it is about: f'charge-{line.id}'."
            )
        self._seen.add(seen)

    def check_stable(self, stored_steps: Mapping[str, Any], name: str, number: int, source: str) -> None:
        """The same turn, the same function, and another id: it was made of something that changes."""
        for stored in stored_steps.values():
            same = stored["number"] == number and stored["source"] == source and stored["name"] not in self._seen
            if same:
                raise UnstableSteps(
                    f"{self._owner}: step number {number} calls {source} and was {stored['name']!r} in an earlier "
                    f"attempt, and is {name!r} now, so it would be done again. Make the id of what does not change "
                    "between attempts: the input, results of steps, a count."
                )


def called(name: str) -> str:
    """What is not a function's step, in words: ``spawn number 2``, ``spawn 'for-A-1'``."""
    kind, _, which = name.partition(":")
    return f"{kind} number {which}" if which.isdecimal() else f"{kind} {which!r}"
