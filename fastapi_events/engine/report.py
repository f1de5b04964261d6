"""What the log says of attempts that did not simply succeed; all wording is here."""

from __future__ import annotations

import asyncio
import logging

from fastapi_events.engine.run import Run
from fastapi_events.model.outcome import Outcome

logger = logging.getLogger("fastapi_events")

_CANCELLED = "asyncio.exceptions.CancelledError"


def report(run: Run, outcome: Outcome) -> None:
    """One line: a warning for a dead delivery, information for one that is tried again or was discarded."""
    kind = outcome.kind
    if kind in ("done", "duplicate"):
        return
    about = (run.handler.id, run.item.name, run.item.id, run.attempt)
    if _cut_off(outcome):
        logger.info("handler %s: %s %s, attempt %d, was cut off and is not recorded: the process ends", *about)
        return
    cause = _cause(outcome)
    if kind == "dead":
        logger.warning("handler %s: %s %s is dead after attempt %d (%s): %s", *about, outcome.reason, cause)
    elif kind == "discarded":
        logger.info("handler %s: %s %s was discarded in attempt %d: %s", *about, _first_line(cause))
    else:
        logger.info("handler %s: %s %s, attempt %d, again in %.1f s: %s", *about, outcome.delay, cause)


def _cut_off(outcome: Outcome) -> bool:
    """Whether the attempt was cancelled together with the task that made it, by its loop's end: nothing is settled."""
    if outcome.failure is None or outcome.failure.error_type != _CANCELLED:
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _cause(outcome: Outcome) -> str:
    what = outcome.failure
    if what is None:
        return outcome.note or "no reason given"
    message = _first_line(what.message)
    return f"{what.error_type}: {message}" if message else what.error_type


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:300]
