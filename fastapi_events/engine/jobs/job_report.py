"""What the log says of attempts at runs that did not simply succeed; all wording is here."""

from __future__ import annotations

import logging

from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.model.outcome import Outcome

logger = logging.getLogger("fastapi_events")


def report(run: JobRun, outcome: Outcome) -> None:
    """One line: a warning for a run that has failed, information for one that is tried again or was cancelled."""
    about = (run.job.id, run.claim.run_id, run.attempt)
    what = outcome.failure
    first_line = what.message.split("\n", 1)[0][:300] if what else outcome.note or "no reason given"
    cause = f"{what.error_type}: {first_line}" if what else first_line
    if outcome.kind == "dead":
        logger.warning("job %s: run %s has failed after attempt %d (%s): %s", *about, outcome.reason, cause)
    elif outcome.kind == "discarded":
        logger.info("job %s: run %s was cancelled in attempt %d: %s", *about, cause)
    else:
        logger.info("job %s: run %s, attempt %d, again in %.1f s: %s", *about, outcome.delay, cause)
