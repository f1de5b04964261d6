"""Retry policies: how often a handler is tried, and how long to wait between attempts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

from fastapi_events.errors import LONGEST_DELAY, ContradictoryOptions
from fastapi_events.model.unknown_options import names_unknown

Seconds = float | timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """A delay in seconds as a function of the number of attempts already made (1, 2, …).

    With ``jitter`` the delay is drawn evenly from zero to the computed one ("full jitter",
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that handlers which failed
    together don't come back together.
    """

    kind: str
    first: float
    cap: float
    jitter: bool

    def longest(self, attempt: int) -> float:
        """The upper bound of the delay after ``attempt`` attempts, in seconds."""
        if self.kind == "fixed":
            return min(self.first, self.cap)
        if self.kind == "linear":
            return min(self.first * attempt, self.cap)
        return float(min(self.first * 2.0 ** min(attempt - 1, 60), self.cap))

    def delay(self, attempt: int, *, draw: Callable[[], float] = random.random) -> float:
        """The delay in seconds to wait after ``attempt`` attempts have been made."""
        longest = self.longest(attempt)
        return longest * draw() if self.jitter else longest


@names_unknown
def exponential(first: Seconds = 1.0, *, cap: Seconds = 3600.0, jitter: bool = True) -> Backoff:
    """Delays of ``first``, 2, 4, … times ``first`` seconds, ``cap`` seconds at most."""
    return _backoff("exponential", first, cap, jitter=jitter)


@names_unknown
def linear(first: Seconds = 1.0, *, cap: Seconds = 3600.0, jitter: bool = False) -> Backoff:
    """Delays of ``first``, 2, 3, … times ``first`` seconds, ``cap`` seconds at most."""
    return _backoff("linear", first, cap, jitter=jitter)


@names_unknown
def fixed(delay: Seconds, *, jitter: bool = False) -> Backoff:
    """The same delay in seconds before every attempt."""
    return _backoff("fixed", delay, delay, jitter=jitter)


def _backoff(kind: str, first: Seconds, cap: Seconds, *, jitter: bool) -> Backoff:
    first_seconds, cap_seconds = _in_seconds(first, f"{kind}: first"), _in_seconds(cap, f"{kind}: cap")
    if not 0 <= first_seconds <= cap_seconds <= LONGEST_DELAY:
        raise ContradictoryOptions(
            f"{kind}(first={first_seconds:g}, cap={cap_seconds:g}): delays are 0 seconds to ten years, and the cap "
            "is not below the first delay. Swap the two or raise cap."
        )
    return Backoff(kind, first_seconds, cap_seconds, jitter)


def _in_seconds(value: object, what: str) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ContradictoryOptions(f"{what}={_shown(value)} is not a number of seconds, nor a timedelta.")
    return float(value)


Errors = type[BaseException] | tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """How a failing handler is retried.

    ``max_attempts`` counts the first run (1 means: never retried). ``retry_on`` limits retries to these
    exception types; ``give_up_on`` names types that are never retried and wins over ``retry_on``. Raises
    ``UnknownOption`` and ``ContradictoryOptions``.
    """

    max_attempts: int
    backoff: Backoff
    retry_on: Errors
    give_up_on: Errors

    @names_unknown
    def __init__(
        self,
        max_attempts: int = 3,
        backoff: Backoff = exponential(),
        retry_on: Errors = Exception,
        give_up_on: Errors = (),
    ) -> None:
        if type(max_attempts) is not int or max_attempts < 1:
            raise ContradictoryOptions(
                f"Retry(max_attempts={_shown(max_attempts)}): it is a whole number from 1: the first run counts."
            )
        given: Any = backoff  # callers may be untyped
        if not isinstance(given, Backoff):
            raise ContradictoryOptions(
                f"Retry(backoff={_shown(given)}): that is no back-off. Write backoff=fixed(5), or linear(…) or "
                "exponential(…)."
            )
        for name, errors in (("retry_on", retry_on), ("give_up_on", give_up_on)):
            if not _are_errors(errors):
                raise ContradictoryOptions(
                    f"Retry({name}={_shown(errors)}): that is neither an exception's class nor a tuple of them. Write "
                    f"{name}=(ConnectionError, TimeoutError)."
                )
        object.__setattr__(self, "max_attempts", max_attempts)
        object.__setattr__(self, "backoff", backoff)
        object.__setattr__(self, "retry_on", retry_on)
        object.__setattr__(self, "give_up_on", give_up_on)

    def permits(self, error: BaseException) -> bool:
        """Whether ``error`` is of a kind that may be retried at all."""
        return isinstance(error, self.retry_on) and not isinstance(error, self.give_up_on)

    @property
    def longest_schedule(self) -> float:
        """Seconds from the first failure to the last attempt if every delay is the longest possible."""
        return sum(self.backoff.longest(attempt) for attempt in range(1, self.max_attempts))


def _are_errors(errors: object) -> bool:
    if isinstance(errors, tuple):
        return all(map(_are_errors, cast("tuple[object, ...]", errors)))
    return isinstance(errors, type) and issubclass(errors, BaseException)


def _shown(value: object) -> str:
    return ascii(value)[:80]
