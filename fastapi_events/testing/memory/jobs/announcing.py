"""The audit event of a run's end, as PostgreSQL makes it."""

from __future__ import annotations

from fastapi_events.model.context import Flow
from fastapi_events.model.envelope import Envelope, PublishOptions, PublishRules, seal
from fastapi_events.model.run_ended import RunEnded
from fastapi_events.testing.memory.jobs.kept_run import KeptEnd, KeptRun


def announcement(run: KeptRun, end: KeptEnd, job: str) -> Envelope:
    """What is told of the end of a run of this job."""
    start = run.start
    ended = RunEnded.model_validate(
        {
            "run_id": run.id, "job": job, "state": end.state, "reason": end.reason, "note": end.note,
            "error_type": end.error_type, "attempts": end.attempts, "redrives": run.redrives, "duration": end.duration,
            "started_at": run.created_at, "source": start.source, "parent_id": start.parent_id,
            "root_id": start.root_id, "scope": start.scope, "scope_id": start.scope_id, "tags": start.tags or (),
        }
    )  # fmt: skip
    flow = Flow(start.correlation_id, run.id, start.tenant_id, start.actor, start.traceparent, start.depth + 1)
    return seal(ended, PublishRules(), flow, PublishOptions(occurred_at=end.finished_at))
