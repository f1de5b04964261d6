"""Fixed schedules: the moments at which a guard is needed, brought about on purpose, without chance.

Chance alone does not show a missing fence: the marks hide what it lets through.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

from fastapi_events.embedded import EmbeddedServer
from tests.chaos import acts, oracle
from tests.chaos.application import Placed
from tests.chaos.options import Options, Twin
from tests.chaos.oracle import Oracle
from tests.chaos.processes import Main, Nursery, Process
from tests.chaos.tables import install
from tests.chaos.verdict import Check, Verdict

REPEATED = """
SELECT coalesce(sum(n - 1), 0) FROM (
    SELECT count(*) AS n FROM chaos.effect WHERE handler = %(handler)s GROUP BY order_id) AS e"""
EFFECTS = "SELECT count(DISTINCT order_id) FROM chaos.effect WHERE handler = %(handler)s"
REACHED = "SELECT count(*) FROM chaos.reached WHERE place = %(place)s AND process = %(process)s"
DELIVERIES = (
    "SELECT count(*) FROM events.delivery d JOIN events.handler h ON h.id = d.handler_id WHERE h.name = %(handler)s"
)
STATE = DELIVERIES + " AND d.state = %(state)s"
ATTEMPTS = """
SELECT count(*) FROM events.attempt a JOIN events.delivery d ON d.id = a.delivery_id
JOIN events.handler h ON h.id = d.handler_id WHERE h.name = %(handler)s"""
HELD = """
SELECT count(*) FROM events.cursor_log c WHERE lease_until IS NOT NULL AND NOT EXISTS (
    SELECT FROM events.cursor_log n
    WHERE (n.group_id, n.lane, n.partition) = (c.group_id, c.lane, c.partition) AND n.seq > c.seq)"""
STALE = "SELECT sum(stale_settles) FROM events.worker WHERE pid = %(pid)s"
REUSED = """
SELECT count(*) FROM events.event
WHERE name = 'chaos.order.kept' AND (payload ->> 'seq')::int > 3 AND xid::text::bigint < %(last)s"""
UNTIL_CRASH = 3.0
"""Seconds without a renewal that the act of the server's crash needs: one would be taken back, and save the day."""
WRITER = "SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'walwriter'"
DONE = f"SELECT (({HELD}) = 0)::int"


class Schedules:
    """The acts, with a planted defect or without."""

    def __init__(self, url: str, options: Options, logs: Path, twin: Twin) -> None:
        self._url, self._options, self._twin = url, options, twin
        self._oracle, self._nursery = Oracle(url), Nursery(logs)
        self._grace = 10 * options.lease + 30
        self._verdict = Verdict(f"fixed schedules, twin {twin!r}" if twin != "none" else "fixed schedules")

    def perform(self) -> Verdict:
        """Play the acts that concern the twin, all of them without one."""
        install(self._url)
        plays: dict[Twin, tuple[Callable[[], None], ...]] = {
            "none": (
                self._killed_after_commit,
                self._late_in_partition,
                self._late_in_parked_key,
                self._window_lost,
            ),
            "mark": (self._killed_after_commit,),
            "crash": (self._window_lost,),
            "fencing": (self._late_in_partition, self._late_in_parked_key),
        }
        try:
            for play in plays[self._twin]:
                play()
                self._nursery.clear()
            self._verdict.none_of(self._oracle.audits())
        finally:
            self._nursery.clear()
            self._oracle.close()
        return self._verdict

    def _killed_after_commit(self) -> None:
        """Effects committed, batch not settled, worker killed: the next one is given the events again."""
        self._publish([[_event(acts.Paid, 1, 1), _event(acts.Paid, 1, 2)]])
        first = self._actor("a")
        self._await(REACHED, place="paid", process=first.name)
        first.kill()
        self._open("b", "paid", "go on")
        second = self._actor("b")
        self._await(REACHED, place="paid", process=second.name)
        self._await(DONE)
        self._verdict.none_of({"killed after the commit: effects repeated": self._count(REPEATED, handler="pay")})
        self._verdict.checks.append(
            Check("killed after the commit: events with effects", self._count(EFFECTS, handler="pay"), at_least=2)
        )

    def _late_in_partition(self) -> None:
        """A worker stopped past its lease fails an event that another has handled, while that one goes on behind it."""
        self._publish([[_event(acts.Packed, 2, 1), _event(acts.Packed, 2, 2)]])
        zombie = self._actor("a")
        self._await(REACHED, place="pack1", process=zombie.name)
        zombie.send(signal.SIGSTOP)
        self._open("b", "pack1", "go on")
        heir = self._actor("b")
        self._await(REACHED, place="pack2", process=heir.name)
        self._open("a", "pack1", "fail")
        zombie.send(signal.SIGCONT)
        self._see(f"SELECT (({STALE}) > 0 OR ({ATTEMPTS}) > 0)::int", pid=zombie.pid, handler="pack")
        self._open("b", "pack2", "go on")
        self._see(EFFECTS, at_least=2, handler="pack")
        self._see(DONE)
        self._verdict.none_of({
            "stopped past its lease: its late failure left a delivery": self._count(DELIVERIES, handler="pack"),
            "stopped past its lease: attempts burnt": self._count(ATTEMPTS, handler="pack"),
        })  # fmt: skip
        self._handled("stopped past its lease", "pack", zombie)

    def _late_in_parked_key(self) -> None:
        """A worker stopped past its claim on a parked key fails what another has retried with success."""
        self._publish([[_event(acts.Sent, 3, 1), _event(acts.Sent, 3, 2)]])
        zombie = self._actor("a")
        self._await(REACHED, place="send1", process=zombie.name)
        zombie.send(signal.SIGSTOP)
        self._open("b", "send1", "go on")
        self._open("b", "send2", "go on")
        self._actor("b")
        self._await(STATE, at_least=2, handler="send", state="done")
        before = self._count(ATTEMPTS, handler="send")
        self._open("a", "send1", "fail")
        zombie.send(signal.SIGCONT)
        self._see(f"SELECT (({STALE}) > 0 OR ({STATE}) > 0)::int", pid=zombie.pid, handler="send", state="dead")
        self._verdict.none_of({
            "stopped in a retry: its late failure killed a handled event":
                self._count(STATE, handler="send", state="dead"),
            "stopped in a retry: attempts burnt": self._count(ATTEMPTS, handler="send") - before,
            "stopped in a retry: keys blocked again": self._count(oracle.BLOCKED),
        })  # fmt: skip
        self._handled("stopped in a retry", "send", zombie)

    def _handled(self, act: str, handler: str, zombie: Process) -> None:
        self._verdict.checks += [
            Check(f"{act}: events with effects", self._count(EFFECTS, handler=handler), at_least=2),
            Check(f"{act}: stale settles counted", self._count(STALE, pid=zombie.pid), at_least=1),
        ]

    def _stop_writing(self) -> int:
        """From here on only a synchronous commit makes the server write its log to disk."""
        writer = self._count(WRITER)
        os.kill(writer, signal.SIGSTOP)
        return writer

    def _crash(self, writer: int) -> None:
        """Kill one of the server's processes, on which it throws its memory away and recovers from its log."""
        os.kill(writer, signal.SIGKILL)
        self._await(f"{WRITER} AND pid <> %(pid)s", pid=writer)

    def _window_lost(self) -> None:
        """A server's crash takes back transactions that a worker has seen: their numbers are given out again.

        The worker has read ahead in a window in which they had ended. Were it to settle that window, the events of
        whoever gets their numbers next would count as seen.
        """
        one, other = acts.READ_AHEAD
        first = [_event(acts.Kept, one, 1), *(_event(acts.Kept, other, seq) for seq in (1, 2, 3))]
        self._publish([first])
        reader = self._actor("a", slow=True)
        self._await(REACHED, place="reading ahead", process=reader.name)
        self._await(REACHED, place="kept", process=reader.name)
        self._publish([[_event(acts.Kept, one, 2)]])
        writer = self._stop_writing()
        self._oracle.rows("SET synchronous_commit = off")
        for _ in range(500):
            self._oracle.rows("UPDATE chaos.account SET seq = seq WHERE id = 199")
        self._open("a", "reading ahead", "go on")
        self._await(REACHED, place="read ahead", process=reader.name)
        last = self._count("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        self._crash(writer)
        self._publish([[_event(acts.Kept, one, seq)] for seq in range(3, 13)])
        self._open("a", "kept", "go on")
        reused = self._count(REUSED, last=last)
        self._see(EFFECTS, at_least=15, handler="keep")
        self._verdict.checks += [
            Check("server crash: events in transactions numbered anew", reused, at_least=1),
            Check("server crash: events with effects", self._count(EFFECTS, handler="keep"), at_least=15),
        ]

    def _publish(self, transactions: Sequence[Sequence[Placed]]) -> None:
        def main(label: str) -> Main:
            return acts.publisher(self._url, self._options, label, transactions)

        process = self._nursery.fork("publisher", main)
        process.wait(30)
        if process.status != 0:
            raise RuntimeError("the act's events could not be published; see publisher.log")

    def _actor(self, name: str, *, slow: bool = False) -> Process:
        def main(label: str) -> Main:
            options = (
                replace(self._options, lease=max(self._options.lease, UNTIL_CRASH / 0.3)) if slow else self._options
            )
            return acts.actor(self._url, options, label, self._twin, slow=slow)

        return self._nursery.fork(name, main)

    def _open(self, process: str, place: str, word: str) -> None:
        self._oracle.rows(
            "INSERT INTO chaos.gate VALUES (%(process)s, %(place)s, %(word)s)", process=process, place=place, word=word
        )

    def _count(self, query: str, **given: object) -> int:
        return self._oracle.number(query, **given)

    def _see(self, query: str, at_least: int = 1, **given: object) -> bool:
        """Wait for what must come about; with a planted defect it may never do."""
        return self._oracle.until(query, self._grace if self._twin == "none" else 5.0, at_least, **given)

    def _await(self, query: str, at_least: int = 1, **given: object) -> None:
        """Wait for what the schedule stands on."""
        if not self._oracle.until(query, self._grace, at_least, **given):
            raise TimeoutError(f"the schedule came to a halt at {given or query}")


def _event(kind: type[Placed], account: int, seq: int) -> Placed:
    return kind(order_id=uuid4(), account=account, seq=seq)


def perform(server: EmbeddedServer, data: Path, options: Options, logs: Path, twin: Twin) -> Verdict:
    """Play the schedules in a database of their own."""
    return Schedules(server.start(data, database=f"chaos_acts_{twin}"), options, logs, twin).perform()
