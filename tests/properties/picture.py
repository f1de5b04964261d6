"""The rows at the moment of a violation, for whoever has to find out how it came about."""

from __future__ import annotations

from typing import Any

import psycopg

_TABLES = {
    "deliveries": """
        SELECT h.name AS handler, d.position, d.slot, d.state, d.reason, d.attempts, d.attempts_before AS before,
               d.postponed, d.redrives, d.holds, d.crashes
        FROM events.delivery d JOIN events.handler h ON h.id = d.handler_id
        ORDER BY h.name, d.slot, d.position""",
    "parked keys": """
        SELECT h.name AS handler, k.slot, k.blocked, k.suspect, k.version, k.token, k.crashes, k.worker_id AS worker,
               CASE WHEN k.due_at < 'infinity' THEN round(extract(epoch FROM k.due_at - m.at)) END AS due_in
        FROM events.parked_key k JOIN events.handler h ON h.id = k.handler_id, moment m ORDER BY h.name, k.slot""",
    "partitions": """
        SELECT DISTINCT ON (c.partition) c.partition, c.seq, c.position, c.remaining, c.target IS NOT NULL AS window,
               c.crashes, c.worker_id AS worker, round(extract(epoch FROM c.lease_until - m.at)) AS lease_for
        FROM events.cursor_log c, moment m ORDER BY c.partition, c.seq DESC""",
    "workers": """
        SELECT w.id, round(extract(epoch FROM w.lease_until - m.at)) AS lease_for, w.alone_with
        FROM events.worker w, moment m ORDER BY w.id""",
    "handlers": "SELECT h.id, h.name, h.paused_at IS NOT NULL AS paused, h.revision FROM events.handler h ORDER BY 1",
    "groups": "SELECT g.id, g.paused_lanes FROM events.consumer_group g",
    "marks": """
        SELECT h.name AS handler, m.position, m.outcome, m.dead_positions FROM events.processing_mark m
        JOIN events.handler h ON h.id = m.handler_id ORDER BY h.name, m.position""",
    "events": """
        SELECT e.position, e.payload->>'number' AS number, e.key, e.partition, e.xid
        FROM events.event e ORDER BY e.position""",
}
_MOMENT = "WITH moment AS (SELECT to_timestamp(last_value / 1000.0) AS at FROM simulated.moment) "


def picture(observer: Any) -> str:
    """What delivery goes by, one row a line."""
    lines: list[str] = []
    try:
        for title, query in _TABLES.items():
            lines.append(f"{title}:")
            found = observer.execute(_MOMENT + query)
            names = [column.name for column in found.description]
            lines += [
                "  " + " ".join(f"{name}={value}" for name, value in zip(names, row, strict=True)) for row in found
            ]
    except psycopg.Error as error:
        lines.append(f"could not be read: {error}")
    return "\n".join(lines)
