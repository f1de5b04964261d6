"""What schedules ask, keeps to its indexes: on tables that are empty, unknown and large."""

from typing import Any

import pytest

from tests.delivery.stage import Stage
from tests.plans.test_plans import Planner, planner

__all__ = ["planner"]

FILL = (
    """
    INSERT INTO events.run (id, number, job_id, correlation_id, input, schedule_id, scheduled_for)
    SELECT gen_random_uuid(), n, n % 50, gen_random_uuid(), 'null', n % 50, to_timestamp(n * 60)
    FROM generate_series(1, (SELECT count(*) FROM events.event)) n
    """,
    """
    INSERT INTO events.run_queue (run_id, number, job_id, priority, state, due_at)
    SELECT id, number, job_id, priority, 't', now() + interval '1 day' FROM events.run
    """,
    """
    INSERT INTO events.schedule (group_id, name, job_id, spec, tz, missed, input, priority, next_at, declared_by)
    SELECT (SELECT min(id) FROM events.consumer_group), 's' || n, 1, '@every 5s', 'UTC', 'once', 'null', 0, now(),
           gen_random_uuid()
    FROM generate_series(1, (SELECT count(*) FROM events.event) / 100) n
    """,
)
EXPECTED = {
    "jobs/next_due_run": {"run_queue_due", "schedule_pkey", "worker_pkey"},
    "schedules/read_ticks": {"schedule_pkey", "worker_pkey"},
    "schedules/tick_schedules": {"schedule_pkey"},
    "schedules/note_tick": {"schedule_pkey"},
    "schedules/touch_schedules": {"schedule_pkey"},
    "schedules/pause_schedule": {"schedule_group_id_name_key", "schedule_pkey"},
    "schedules/lock_schedule": {"schedule_group_id_name_key"},
    "schedules/resume_schedule": {"schedule_pkey"},
    "schedules/find_schedule": {"schedule_group_id_name_key"},
}


@pytest.mark.slow
async def test_schedules_keep_to_their_indexes(planner: tuple[Planner, Stage, Any]) -> None:
    plans, stage, events = planner
    for statement in FILL:
        await stage.rows(statement)
    for state in ("not analysed", "analysed"):
        if state == "analysed":
            await stage.rows("ANALYZE")
        for name, indexes in EXPECTED.items():
            for scan in await plans.scans(events.runtime.statements[name]):
                if scan.table in ("run", "run_queue", "schedule", "worker"):
                    assert scan.index in indexes, f"{name}, {state}: {scan}"
                    assert scan.condition, f"{name}, {state}: {scan}"
