"""What a job is given to work with, while it runs."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any
from uuid import UUID

from fastapi_events.engine.jobs.job_run import JobRun
from fastapi_events.model.job_context import RunInfo

logger = logging.getLogger("fastapi_events.jobs")


class RunningJob:
    """The context of one attempt."""

    def __init__(self, run: JobRun, value: Any) -> None:
        self._run, self.input = run, value

    @cached_property
    def run(self) -> RunInfo:
        """The run."""
        row = self._run.item.row
        run_id: UUID = row["run_id"]
        return RunInfo(
            id=run_id, job=self._run.job.id, attempt=self._run.attempts, root_id=row["root_id"] or run_id,
            parent_id=row["parent_id"], tags=tuple(row["tags"] or ()),
            scope=(row["scope"], row["scope_id"]) if row["scope"] is not None else None, tenant_id=row["tenant_id"],
            correlation_id=row["correlation_id"], created_at=row["created_at"],
        )  # fmt: skip

    @property
    def attempt(self) -> int:
        """The number of this attempt."""
        return self._run.attempt

    @property
    def redelivered(self) -> bool:
        """Whether an earlier attempt ended uncleanly."""
        return self._run.redelivered

    @cached_property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that says which run it is about."""
        return logging.LoggerAdapter(logger, {"run_id": str(self._run.claim.run_id), "job": self._run.job.id})
