"""How many runs of a job there may be: at once, of one thing, and in a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args

from fastapi_events.errors import ContradictoryOptions
from fastapi_events.model.durations import checked_span
from fastapi_events.model.retry import Seconds
from fastapi_events.model.unknown_options import names_unknown

OnCollision = Literal["queue", "reject", "replace"]
Until = Literal["finished", "started"]
Key = Callable[[Any], str | None]
"""Makes a key of a job's input; None where the option is not to hold for this input."""
HIGHEST_LIMIT = 32_767


@dataclass(frozen=True, slots=True, init=False)
class Concurrency:
    """At most ``limit`` runs of a job at once, in all processes together.

    With ``key``, a function of the input, as many of each key; an input whose key is None is not limited. A run counts
    from the begin of an attempt to its end, also while it sleeps or waits. ``on_collision`` is for a run above the
    limit: ``"queue"`` (it waits for its turn), ``"reject"`` (``jobs.start`` raises ``JobCollisionError``) or
    ``"replace"`` (the oldest one is canceled). Raises ``ContradictoryOptions``.

    Example::

        Concurrency(key=lambda restock: restock.sku, limit=1)
    """

    key: Key | None
    limit: int
    on_collision: OnCollision

    @names_unknown
    def __init__(
        self,
        *,
        key: Key | None = None,
        limit: int = 1,
        on_collision: Literal["queue", "reject", "replace"] = "queue",
    ) -> None:
        _check_key(key, "Concurrency")
        _check_number(limit, "limit", "Concurrency", HIGHEST_LIMIT)
        _check_word(on_collision, "on_collision", "Concurrency", get_args(OnCollision))
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "limit", limit)
        object.__setattr__(self, "on_collision", on_collision)


@dataclass(frozen=True, slots=True, init=False)
class Dedupe:
    """A start whose key is that of a run that is there gives that one, in place of a second one.

    ``key`` is a function of the input (default: the whole input); an input whose key is None is never a duplicate. A
    run is there until it has finished, which is when all its attempts are over; with ``until="started"`` until it has
    begun, so that one more can wait while one works; with ``window`` (seconds or a ``timedelta``) for so long from its
    start, whatever has become of it. Raises ``UnknownOption`` and
    ``ContradictoryOptions``.

    Example::

        Dedupe(key=lambda report: report.day, window=timedelta(hours=1))
    """

    key: Key | None
    window: float | None
    """Seconds; None if the run itself counts."""
    until: Until

    @names_unknown
    def __init__(
        self,
        *,
        key: Key | None = None,
        window: Seconds | None = None,
        until: Literal["finished", "started"] = "finished",
    ) -> None:
        _check_key(key, "Dedupe")
        _check_word(until, "until", "Dedupe", get_args(Until))
        if window is not None and until == "started":
            raise ContradictoryOptions(
                "Dedupe: window= does not go with until='started': both say how long a run stands for the next ones. "
                "Write one of them."
            )
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "window", checked_span(window, "window", "Dedupe"))
        object.__setattr__(self, "until", until)


@dataclass(frozen=True, slots=True, init=False)
class RateLimit:
    """``limit`` attempts begin in each ``per`` (seconds or a ``timedelta``), in all processes together.

    Runs above it wait for their turn. After a rest ``limit`` of them begin at once, and from then on one each ``per`` /
    ``limit``, by the generic cell rate algorithm (ITU-T I.371): in one particular ``per`` up to twice as many, less
    one. With ``key``, a function of the input, as many of each key; an input whose key is None is not limited. Raises
    ``UnknownOption`` and ``ContradictoryOptions``.

    Example::

        RateLimit(100, per=60, key=lambda call: call.supplier)
    """

    limit: int
    per: float
    """Seconds."""
    key: Key | None

    @names_unknown
    def __init__(self, limit: int, per: Seconds, key: Key | None = None) -> None:
        _check_number(limit, "limit", "RateLimit", 1_000_000)
        _check_key(key, "RateLimit")
        seconds = checked_span(per, "per", "RateLimit")
        if seconds is None:
            raise ContradictoryOptions("RateLimit: per=None says no time. Write per=1 for a second, or a timedelta.")
        object.__setattr__(self, "limit", limit)
        object.__setattr__(self, "per", seconds)
        object.__setattr__(self, "key", key)


def _check_key(key: Any, owner: str) -> None:
    if not (key is None or callable(key)):
        raise ContradictoryOptions(
            f"{owner}: key={ascii(key)[:80]} is not a function of the job's input. Write e.g. key=lambda restock: "
            "restock.sku."
        )


def _check_number(number: Any, name: str, owner: str, most: int) -> None:
    if type(number) is not int or not 1 <= number <= most:
        raise ContradictoryOptions(
            f"{owner}: {name}={ascii(number)[:80]} is not a whole number from 1 to {most:,}. Write e.g. {name}=5."
        )


def _check_word(word: Any, name: str, owner: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise ContradictoryOptions(f"{owner}: {not_among(word, name, words)}")


def not_among(word: object, name: str, words: tuple[str, ...], meant: str | None = None) -> str:
    """What is said of a value that is none of these words; ``meant`` is the one that was, where letters mislead."""
    near = [meant] if meant else get_close_matches(word, words, n=1) if isinstance(word, str) else []
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{name}={ascii(word)[:80]} is not one of {', '.join(map(repr, words))}.{hint}"
