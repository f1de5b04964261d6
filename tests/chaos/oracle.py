"""What the database says, and nothing but the database."""

from __future__ import annotations

import time
from typing import Any

import psycopg

PATIENCE = 30.0

LOST = """
SELECT count(*) FROM chaos.placed p WHERE NOT EXISTS (
    SELECT FROM chaos.effect e WHERE e.order_id = p.order_id AND e.handler = %(handler)s)"""
TWICE = """
SELECT coalesce(sum(n - 1), 0) FROM (
    SELECT count(*) AS n FROM chaos.effect WHERE handler = %(handler)s GROUP BY order_id) AS e"""
# What is promised: of one key, a later event's effects begin only when those of the one before have been committed.
DISORDER = """
SELECT count(*) FROM (
    SELECT seq, max(seq) OVER (
        PARTITION BY account ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM chaos.effect WHERE handler = %(handler)s) AS e
WHERE seq < before"""
PHANTOMS = """
SELECT count(*) FROM chaos.effect e
WHERE NOT EXISTS (SELECT FROM chaos.placed p WHERE p.order_id = e.order_id)"""

WAITING = "SELECT count(*) FROM events.delivery WHERE state = 'waiting'"
DEAD = "SELECT count(*) FROM events.delivery WHERE state IN ('dead', 'discarded')"
BLOCKED = "SELECT count(*) FROM events.parked_key WHERE blocked"

# Each state of a partition must follow from the one before: by its owner's hand, or once it was free or expired.
_PAIRS = """
SELECT count(*) FROM events.cursor_log n
JOIN events.cursor_log o ON (o.group_id, o.lane, o.partition, o.seq) = (n.group_id, n.lane, n.partition, n.seq - 1)
WHERE """
USURPED = (
    _PAIRS
    + """n.worker_id IS DISTINCT FROM o.worker_id
      AND o.lease_until IS NOT NULL AND o.lease_until >= n.noted_at"""
)
# Only a claim may follow a free state, or one that another worker let expire; and a claim changes no place.
SETTLED_BY_STRANGER = (
    _PAIRS
    + """n.worker_id IS DISTINCT FROM o.worker_id
      AND (n.lease_until IS NULL OR (n.seen)::text <> (o.seen)::text)"""
)
MOVED_BACK = (
    _PAIRS
    + """pg_snapshot_xmax(n.seen) < pg_snapshot_xmax(o.seen)
      OR (n.seen::text = o.seen::text AND n.target::text = o.target::text AND n.position < o.position)"""
)
TAKEN_OVER = _PAIRS + "n.worker_id IS DISTINCT FROM o.worker_id AND o.lease_until IS NOT NULL"
_KEY_STEPS = """
WITH step AS (SELECT *, lag(kind) OVER w AS before, lag(process) OVER w AS holder
    FROM chaos.key_change WHERE kind <> 'other' WINDOW w AS (PARTITION BY handler_id, slot ORDER BY id))
SELECT count(*) FROM step WHERE """
KEY_USURPED = _KEY_STEPS + "kind = 'claim' AND before = 'claim' AND process <> holder AND NOT expired"
KEY_SETTLED_BY_STRANGER = _KEY_STEPS + "kind = 'settle' AND (before IS DISTINCT FROM 'claim' OR process <> holder)"
# Who parks a key that nobody holds, and goes on, brings a token of its own.
KEY_TOKEN_BACK = "SELECT count(*) FROM chaos.key_change WHERE token < old_token AND old_blocked"

AUDITS = {
    "partition taken from a live lease": USURPED,
    "partition settled by a worker that was not its owner": SETTLED_BY_STRANGER,
    "cursor moved back": MOVED_BACK,
    "parked key taken from a live claim": KEY_USURPED,
    "parked key settled by a worker that did not hold it": KEY_SETTLED_BY_STRANGER,
    "parked key's token lowered": KEY_TOKEN_BACK,
}


class Oracle:
    """Questions to one database, asked again while its server is away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[Any] | None = None

    def rows(self, query: str, **given: object) -> list[Any]:
        """Run one statement; tried anew for half a minute as long as the server does not answer."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = psycopg.connect(self._url, autocommit=True)
                cursor = self._connection.execute(query, given or None)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def number(self, query: str, **given: object) -> int:
        """The first column of the first row."""
        return int(self.rows(query, **given)[0][0] or 0)

    def until(self, query: str, seconds: float, at_least: int = 1, **given: object) -> bool:
        """Whether a number reaches ``at_least`` within ``seconds``."""
        deadline = time.monotonic() + seconds
        while self.number(query, **given) < at_least:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def audits(self) -> dict[str, int]:
        """Breaches of ownership that the database has noted."""
        return {what: self.number(query) for what, query in AUDITS.items()}

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
