"""Keeping what is secret in a run's input out of what is kept and logged of its failed attempts."""

from __future__ import annotations

import logging
from dataclasses import replace

from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.engine.secrecy import WITHHELD
from fastapi_events.model.outcome import Failure, Outcome
from fastapi_events.model.secrets import place_in, secret_values, without_values

logger = logging.getLogger("fastapi_events")


def discreet(outcome: Outcome, run: JobRun) -> Outcome:
    """The outcome with the values of the input's secret fields hidden, wherever an error quotes them."""
    what, note = outcome.failure, outcome.note
    if what is None and note is None:
        return outcome
    return replace(outcome, failure=None if what is None else discreet_failure(what, run), note=_text(note, run))


def discreet_failure(what: Failure, run: JobRun) -> Failure:
    """The same for a failure. Where it cannot be told what is secret, nothing of what it says is shown."""
    values = secrets_of(run)
    if values is None:
        return Failure(what.error_type, WITHHELD, "")
    if not values:
        return what
    return Failure(what.error_type, without_values(what.message, values), without_values(what.traceback, values))


def _text(text: str | None, run: JobRun) -> str | None:
    if text is None:
        return None
    values = secrets_of(run)
    return WITHHELD if values is None else without_values(text, values)


def secrets_of(run: JobRun) -> list[str] | None:
    """What is secret in a run's input, the longest first; None where that cannot be told."""
    try:
        return secret_values(run.item.row["input"], place_in(run.job.job.input_type))
    except Exception as error:  # noqa: BLE001 - a type of the user's, which must not end an attempt, nor show anything
        logger.error(  # noqa: TRY400 - its message may quote the input
            "job %s: the secrets of run %s could not be looked for (%s); what it says is not shown",
            run.job.id, run.claim.run_id, type(error).__qualname__,
        )  # fmt: skip
        return None
