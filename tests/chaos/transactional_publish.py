"""Requests that commit, fail or roll a savepoint back, in a process that is killed again and again."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.chaos import oracle, web
from tests.chaos.options import Options, Twin
from tests.chaos.oracle import Oracle
from tests.chaos.processes import Main, Nursery, Process
from tests.chaos.tables import install
from tests.chaos.verdict import Verdict

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
PATIENCE = 60.0
GRACE = 5.0
"""Seconds in which a process has to end at a signal; then it is killed."""

UNHANDLED = "SELECT count(*) FROM chaos.booking b WHERE NOT EXISTS (SELECT FROM chaos.booked WHERE booking_id = b.id)"
PHANTOMS = "SELECT count(*) FROM chaos.booked b WHERE NOT EXISTS (SELECT FROM chaos.booking WHERE id = b.booking_id)"
REPEATED = "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM chaos.booked GROUP BY booking_id) AS b"
NOT_IN_LOG = """
SELECT count(*) FROM chaos.booking b WHERE NOT EXISTS (
    SELECT FROM events.event e WHERE e.payload ->> 'booking_id' = b.id::text)"""
ONLY_IN_LOG = """
SELECT count(*) FROM events.event e WHERE NOT EXISTS (
    SELECT FROM chaos.booking b WHERE b.id::text = e.payload ->> 'booking_id')"""
ROLLED_BACK = "SELECT count(*) FROM chaos.booking WHERE fate = 'error' OR fate LIKE 'in %'"
# An outcome that is half of one: a savepoint's request commits its first and its last booking together.
HALVES = """
SELECT count(*) FROM (
    SELECT count(*) AS n FROM chaos.booking WHERE fate IN ('savepoint', 'after savepoint') GROUP BY request) AS b
WHERE n <> 2"""


class Run:
    """One run; ``perform()`` returns its verdict."""

    def __init__(self, url: str, options: Options, logs: Path, twin: Twin = "none") -> None:
        self._url, self._options, self._twin = url, options, twin
        self._random = random.Random(options.seed)
        self._nursery, self._oracle = Nursery(logs), Oracle(url)
        self._tickets = web.Tickets()
        self._signals = self._failures = 0

    def perform(self) -> Verdict:
        """Ask under fire, drain, judge."""
        install(self._url)
        try:
            worker = self._nursery.fork("desk", lambda label: web.desk_worker(self._url, self._options, label))
            began = time.monotonic()
            self._under_fire()
            asked = time.monotonic() - began
            self._oracle.until(f"SELECT (({UNHANDLED}) = 0)::int", PATIENCE if self._twin == "none" else 1.0)
            if worker.ended():
                self._failures += 1
            return self._judge(asked)
        finally:
            self._oracle.close()
            self._nursery.clear()

    def _clients(self) -> Process:
        def main(label: str) -> Main:
            return web.clients(self._url, self._options, label, self._tickets, self._twin)

        return self._nursery.fork("web", main)

    def _under_fire(self) -> None:
        process, number = self._clients(), None
        next_signal = time.monotonic() + self._random.uniform(0.3, 2.0)
        while True:
            if process.ended():
                if process.status == 0 and self._tickets.drawn >= self._options.requests:
                    return
                self._failures += number is None
                if self._failures > 5:
                    return
                process, number = self._clients(), None
                next_signal = time.monotonic() + self._random.uniform(0.3, 2.0)
            if time.monotonic() >= next_signal:
                number = self._random.choice(SIGNALS) if number is None else signal.SIGKILL
                next_signal += GRACE
                self._signals += 1
                process.send(number)
            time.sleep(0.01)

    def _judge(self, asked: float) -> Verdict:
        ask, verdict = self._oracle.number, Verdict(f"transactional publish (seed {self._options.seed})")
        verdict.told({
            "requests": self._options.requests, "seconds": asked, "signals to the publishing process": self._signals,
            "bookings committed": ask("SELECT count(*) FROM chaos.booking"),
        })  # fmt: skip
        verdict.none_of({
            "publishing process ended by itself": self._failures,
            "committed, not in the log": ask(NOT_IN_LOG), "in the log, not committed": ask(ONLY_IN_LOG),
            "committed, not handled": ask(UNHANDLED), "handled, not committed": ask(PHANTOMS),
            "handled twice": ask(REPEATED), "committed though rolled back": ask(ROLLED_BACK),
            "half a request committed": ask(HALVES), "dead letters": ask(oracle.DEAD),
        })  # fmt: skip
        return verdict
