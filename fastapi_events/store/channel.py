"""The NOTIFY channel of a schema: saying that something was committed, and checking that one still listens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from fastapi_events.model.lane import PLACES_PER_LANE, LogPlace, place_of
from fastapi_events.store.statements import Statements

NAME_LIMIT = 63
"""Bytes of a channel's name, a limit of PostgreSQL's identifiers."""


MOST_PLACES = 8
"""Of more places than this a notification names the lanes only: looking through all of a lane is then as quick."""
_LONGEST_HINT = 64


@dataclass(frozen=True, slots=True)
class Hint:
    """What a notification says: where events may wait, whether parked keys may have become due, handlers changed.

    Nobody can trust it. What cannot be read means that anything may wait anywhere.
    """

    places: frozenset[LogPlace] = frozenset()
    lanes: frozenset[int] = frozenset()
    keys: bool = False
    handlers: bool = False
    everywhere: bool = False

    @classmethod
    def read(cls, text: str) -> Hint:
        """The hint in a notification of any release, or of a stranger."""
        words = text.split(",") if len(text) <= _LONGEST_HINT else []
        places, lanes = set[LogPlace](), set[int]()
        for word in words:
            lane, dot, partition = word.partition(".")
            if not _is_number(lane) or (dot and not _is_number(partition)):
                continue
            if dot:
                places.add(place_of(int(lane), int(partition)))
            else:
                lanes.add(int(lane))
        keys, handlers = "k" in words, "h" in words
        return cls(
            frozenset(places), frozenset(lanes), keys, handlers, everywhere=not (places or lanes or keys or handlers)
        )

    def written(self) -> str:
        """The notification's text."""
        places, lanes = self.places, self.lanes
        if len(places) > MOST_PLACES:
            places, lanes = frozenset[LogPlace](), lanes | lanes_of(places)
        named = (divmod(place, PLACES_PER_LANE) for place in sorted(places))
        words = [*map(str, sorted(lanes)), *(f"{lane}.{partition}" for lane, partition in named)]
        return ",".join([*words, *(["k"] if self.keys else []), *(["h"] if self.handlers else [])])


def lanes_of(places: Collection[LogPlace]) -> frozenset[int]:
    """The lanes that places belong to."""
    return frozenset(place // PLACES_PER_LANE for place in places)


def _is_number(word: str) -> bool:
    return word.isdecimal() and word.isascii() and len(word) <= 4


class Channel:
    """One channel per schema; what travels on it is a hint and never trusted."""

    def __init__(self, statements: Statements) -> None:
        self.name = f"fastapi_events_{statements.schema}"[:NAME_LIMIT]
        self._notify, self._check = statements["notify"], statements["check_listening"]

    async def notify(self, connection: Any, hint: Hint, *, timeout: float) -> None:
        """Send a hint."""
        await connection.execute(self._notify, self.name, hint.written(), timeout=timeout)

    async def is_heard(self, connection: Any) -> bool:
        """Whether the connection still listens."""
        return bool(await connection.fetchval(self._check, self.name))
