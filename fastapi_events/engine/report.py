"""What the log says of attempts that did not simply succeed; all wording is here."""

from __future__ import annotations

import logging

from fastapi_events.engine.executor import Run
from fastapi_events.model.outcome import Outcome

logger = logging.getLogger("fastapi_events")


def report(run: Run, outcome: Outcome) -> None:
    """One line: a warning for a dead delivery, information for one that is tried again or was discarded."""
    kind = outcome.kind
    if kind in ("done", "duplicate"):
        return
    what = outcome.failure
    cause = f"{what.error_type}: {_first_line(what.message)}" if what else outcome.note or "no reason given"
    about = (run.handler.id, run.item.name, run.item.id, run.attempt)
    if kind == "dead":
        logger.warning("handler %s: %s %s is dead after attempt %d (%s): %s", *about, outcome.reason, cause)
    elif kind == "discarded":
        logger.info("handler %s: %s %s was discarded in attempt %d: %s", *about, _first_line(cause))
    else:
        logger.info("handler %s: %s %s, attempt %d, again in %.1f s: %s", *about, outcome.delay, cause)


def _first_line(text: str) -> str:
    return text.split("\n", 1)[0][:300]
