"""What attempts come to: from an exception, a time-out or an interruption to a value that can be recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi_events.engine.failure import MAX_MESSAGE, failure, failure_of, safe_text
from fastapi_events.engine.infrastructure import NoConnection, interrupted_delay, is_infrastructure
from fastapi_events.engine.item import ErasedContent
from fastapi_events.engine.run import Run
from fastapi_events.engine.stored_versions import Unreadable
from fastapi_events.errors import DeadLetter, Discard, RetryLater
from fastapi_events.model.delivery import DeadReason
from fastapi_events.model.erasure import ERASED_TEXT
from fastapi_events.model.outcome import Failure, Outcome


class NoThread(Exception):
    """Every thread is held by a handler that was given up and has not returned: a failure of the process, not its."""


class Abandoned(Exception):
    """An attempt that was given up came back from its handler."""


def outcome_of(run: Run, error: BaseException) -> Outcome:
    """What an attempt that ended by ``error`` comes to. Total: it raises nothing."""
    if isinstance(error, ErasedContent):
        return Outcome("discarded", reason="erased", note=ERASED_TEXT)
    if isinstance(error, Unreadable):
        return Outcome("dead", reason=error.reason, failure=error.failure)
    if isinstance(error, Discard):
        return Outcome("discarded", note=_text_of(error.reason))
    if isinstance(error, DeadLetter):
        return _dead("rejected_by_handler", "DeadLetter", _text_of(error.reason))
    if isinstance(error, RetryLater):
        return _postponed(run, error)
    if isinstance(error, NoThread) or is_infrastructure(error):
        seen = error.__cause__ if isinstance(error, NoConnection) and error.__cause__ is not None else error
        return Outcome("interrupted", delay=interrupted_delay(run.item.postponed), failure=failure_of(seen))
    return failed(run, error)


def failed(run: Run, error: BaseException) -> Outcome:
    """The outcome of an attempt that failed by ``error``, by the handler's retry policy; misuse is not tried again."""
    what = failure_of(error)
    if _holds(error, run.misuse):
        return Outcome("dead", reason="gave_up", failure=what)
    return _by_policy(run, error if isinstance(error, Exception) else Exception(), what, "gave_up", "max_attempts")


def _holds(error: BaseException, kinds: tuple[type[Exception], ...]) -> bool:
    """Whether it is of these kinds, or, as a task group raises it, has one that is."""
    group: Any = error
    if kinds and isinstance(error, BaseExceptionGroup):
        return group.subgroup(kinds) is not None
    return isinstance(error, kinds)


def timed_out(run: Run) -> Outcome:
    """The outcome of an attempt that was given up at its time-out."""
    limit = run.handler.timeout
    what = failure("TimeoutError", f"the {run.noun} ran longer than its time-out of {limit:g} s")
    return replace(_by_policy(run, TimeoutError(), what, "timed_out", "timed_out"), duration=limit)


def given_up(run: Run) -> Outcome:
    """The outcome of an attempt whose time is over; it has one already if only its middleware is still at work.

    One whose handler was not called yet spends nothing: it was the database, or middleware, that took the time.
    """
    if run.outcome is not None:
        return run.outcome
    if run.beginning:
        what = f"the database did not begin the transaction within {run.handler.timeout:g} s; the handler has not run"
        return _not_run(run, "NoTransaction", what)
    onion = run.handler.outside
    if onion is None or run.entered:
        return timed_out(run)
    what = f"{onion}: did not call call_next within {run.handler.timeout:g} s; the handler has not run"
    return _not_run(run, "MiddlewareTimeout", what)


def _not_run(run: Run, error_type: str, what: str) -> Outcome:
    return Outcome("interrupted", delay=interrupted_delay(run.item.postponed), failure=failure(error_type, what))


def _by_policy(run: Run, error: Exception, what: Failure, refused: DeadReason, last: DeadReason) -> Outcome:
    policy = run.handler.retry
    try:
        permitted, delay = policy.permits(error), policy.backoff.delay(run.attempt)
    except Exception as problem:  # noqa: BLE001 - a policy of the user's own making
        return Outcome("dead", reason=refused, failure=failure_of(problem))
    if not permitted:
        return Outcome("dead", reason=refused, failure=what)
    if run.attempt >= policy.max_attempts:
        return Outcome("dead", reason=last, failure=what)
    return Outcome("retry", delay=delay, failure=what)


def cascade_limit(depth: int) -> Outcome:
    """The outcome of an event at the end of a chain of more than ``depth``."""
    return _dead("cascade_limit", "CascadeLimit", f"more than {depth} events caused each other")


def crashed(times: int) -> Outcome:
    """The outcome of a run with which so many processes have vanished while it was alone at work."""
    text = (
        f"{times} processes have vanished while they ran it alone. Nothing in Python is known to have failed: look "
        "into their logs and their platform's events (killed for their memory? a crash in a C library?)."
    )
    return _dead("crashed_worker", "WorkerCrashed", text)


def interrupted(what: str) -> Outcome:
    """The outcome of an attempt that ended because this process stops."""
    return Outcome("interrupted", failure=failure("Interrupted", what))


def superseded() -> Outcome:
    """The outcome of an attempt at an event that is dead or discarded: another worker has taken over, and what this one
    has of the key is out of date. It stops there, and cannot record it."""
    return Outcome("interrupted", failure=failure("Superseded", "another worker has settled this event"))


def _postponed(run: Run, error: RetryLater) -> Outcome:
    if run.age + error.delay > error.max_age:
        return _dead("max_attempts", "RetryLater", f"postponed for longer than its max_age of {error.max_age:g} s")
    return Outcome("postponed", delay=max(error.delay, 0.0), failure=failure("RetryLater", str(error)))


def _dead(reason: Any, error_type: str, message: str) -> Outcome:
    return Outcome("dead", reason=reason, failure=failure(error_type, message))


def _text_of(reason: object) -> str:
    """A reason as text, whatever a handler has given for it."""
    try:
        text = str(reason)
    except Exception:  # noqa: BLE001 - somebody's __str__
        text = f"a {type(reason).__qualname__} that cannot be shown as text"
    return safe_text(text, MAX_MESSAGE)
