"""What replays ask, keeps to its indexes: on tables that are empty, unknown and large."""

import re
from typing import Any

import pytest

from tests.delivery.stage import Stage
from tests.plans.test_plans import Planner, planner

__all__ = ["planner"]

FILL = (
    """
    UPDATE events.delivery SET replay_id = 'aaaaaaaa-0000-0000-0000-000000000000' WHERE position % 3 = 0
    """,
    """
    INSERT INTO events.replay (id, handler_id, state, from_position, to_position, total, created_by)
    SELECT gen_random_uuid(), (SELECT min(id) FROM events.handler), 'done', 0, 1000, 5, 'x'
    FROM generate_series(1, (SELECT count(*) FROM events.event) / 100)
    """,
    """
    INSERT INTO events.replay_share (replay_id, lane, partition, position, seen, finished)
    SELECT r.id, 1, p, 1000, pg_current_snapshot(), true FROM events.replay r, generate_series(0, 31) p
    """,
)
TABLES = ("event", "delivery", "parked_key", "processing_mark", "replay", "replay_share")
EXPECTED = {
    "claim_replay_share": {
        "replay_pkey", "replay_share_pkey", "delivery_of_replay", "event_pkey", "parked_key_pkey",
    },
    "settle_replay_share": {"replay_pkey", "replay_share_pkey", "event_pkey"},
    "renew_replay_shares": {"replay_share_pkey"},
    "list_running_replays": set[str](),
    "finish_replays": {"replay_share_pkey", "replay_pkey", "delivery_of_replay", "parked_key_pkey"},
    "claim_replay_keys": {"delivery_of_replay", "parked_key_pkey"},
    "start_handlers": {"event_pkey"},
    "count_replay_share": {"event_pkey"},
    "discard_replay": {"delivery_of_replay", "delivery_of_event", "delivery_pkey", "delivery_queue", "delivery_held",
                       "parked_key_pkey"},
    "mark_replayed": set[str](),
    "read_keeping_replays": {"replay_share_pkey", "event_pkey"},
}  # fmt: skip


@pytest.mark.slow
async def test_replays_keep_to_their_indexes(planner: tuple[Planner, Stage, Any]) -> None:
    plans, stage, events = planner
    for statement in FILL:
        await stage.rows(statement)
    for state in ("not analysed", "analysed", "vacuumed"):
        if state != "not analysed":
            await stage.rows("ANALYZE" if state == "analysed" else "VACUUM")
        for name, indexes in EXPECTED.items():
            scans = await plans.scans(events.runtime.statements[name])
            looks = [
                scan
                for scan in scans
                if scan.table in TABLES
                and scan.kind != "Tid Scan"
                and scan.index != "replay_unfinished"  # one a handler
            ]
            assert {scan.index for scan in looks} <= indexes, f"{name}, {state}: {scans}"
            assert all(scan.condition for scan in looks), f"{name}, {state}: {scans}"
            places = [scan.condition for scan in looks if scan.index == "event_pkey"]
            assert all(re.search(r"\bpartition\b.*\bposition\b", each) for each in places), f"{name}, {state}: {scans}"
