"""Retention keeps to indexes, and where there is none to the pages it was given: with few rows and many."""

from typing import Any

import pytest

from tests.delivery.stage import Stage
from tests.plans.test_plans import BIG, Planner, planner

__all__ = ["planner"]

MORE = (
    """
    INSERT INTO events.success_batch (group_id, lane, first_position, last_position, handler_ids, positions, worker_id,
                                      started_at)
    SELECT 1, 1, n, n, '{1}', ARRAY[n], gen_random_uuid(), now() FROM generate_series(1, $1::int / 2) n
    """,
    "INSERT INTO events.event_key (event_id, position) SELECT gen_random_uuid(), n FROM generate_series(1, $1::int) n",
    """
    INSERT INTO events.attempt (delivery_id, number, outcome, worker_id)
    SELECT id, 1, 'failed', gen_random_uuid() FROM events.delivery WHERE $1::int > 0
    """,
)
# What each looks at beside the pages of its table; a delivery may be found by its position, of which few have several.
SWEEPS = {
    "prune_marks": ("processing_mark", "0, 32, 1, '{1}', '{infinity}'", {"delivery_pkey", "delivery_of_event"}),
    "prune_deliveries": ("delivery", "0, 32, 1, 1", {"event_pkey", "attempt_of_delivery"}),
    "prune_successes": ("success_batch", "0, 32, 1", set[str]()),
    "prune_event_keys": ("event_key", "0, 32, 1", {"scheduled_event_pkey"}),
}
INDEXES = {
    "prune_events": ("0, 1000, 0", {"event_pkey", "cursor_log_pkey", "delivery_of_event"}),
    "copy_waiting_events": ("0, 33554432, 1000", {"event_pkey", "delivery_of_event", "delivery_pkey"}),
    "read_unread_groups": ("0, 33554432", {"event_window", "cursor_log_pkey"}),
    "read_segment_age": ("0, 33554432", {"event_pkey"}),
    "read_span": ("0", {"event_pkey"}),
    "abandon_deliveries": (
        "1000",
        {"parked_key_due", "parked_key_newer", "parked_key_suspect", "delivery_queue", "delivery_held"},
    ),
    "read_mark_limits": ("10000", {"delivery_queue", "delivery_dead"}),
}


@pytest.mark.slow
async def test_retention_looks_at_what_it_was_given(planner: tuple[Planner, Stage, Any]) -> None:
    plans, stage, events = planner
    filled = await stage.value("SELECT count(*) FROM events.event")
    for statement in MORE if filled else ():
        await stage.rows(statement, filled)
    statements = events.runtime.statements
    for state in ("not analysed", "analysed", "vacuumed"):
        if state != "not analysed":
            await stage.rows("ANALYZE" if state == "analysed" else "VACUUM")
        for name, (table, arguments, indexes) in SWEEPS.items():
            scans = await plans.scans(statements[name], arguments)
            looks = [scan for scan in scans if scan.table == table and scan.kind != "Tid Scan"]
            assert [scan.kind for scan in looks] == ["Tid Range Scan"], f"{name}, {state}: {scans}"
            others = {scan.index for scan in scans if scan.table in BIG and scan.table != table}
            assert others <= indexes, f"{name}, {state}: {scans}"
        for name, (arguments, indexes) in INDEXES.items():
            scans = [scan for scan in await plans.scans(statements[name], arguments) if scan.table in BIG]
            if (
                name == "prune_events"
            ):  # rows are deleted where they were found; in a segment without pages by any index
                places = [scan for scan in scans[-2:] if scan.kind == "Tid Scan"]
                assert places or filled < 1_000, f"{name}, {state}: {scans}"
                scans = scans[:-2]
            looks = [scan for scan in scans if scan.kind != "Tid Scan"]
            assert {scan.index for scan in looks} <= indexes, f"{name}, {state}: {scans}"
            for scan in looks:
                assert scan.condition or scan.index == "delivery_dead", f"{name}, {state}: {scan}"
                assert scan.index != "event_window" or "xid" in scan.condition, f"{name}, {state}: {scan}"
