"""Events fed at an even pace while processes are killed and the server crashes: each effect once, in order."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from fastapi_events.embedded import EmbeddedServer
from tests.chaos import children, oracle
from tests.chaos.application import PLAIN, TRANSACTIONAL
from tests.chaos.options import Options
from tests.chaos.oracle import Oracle
from tests.chaos.processes import Main, Nursery, Process
from tests.chaos.tables import install
from tests.chaos.verdict import Check, Verdict

RESTARTS = (0.35, 0.7)
"""When the server crashes, as parts of the feeding time."""
STOP_EVERY = 5.0
"""Seconds between two SIGSTOPs of 1.5 leases."""
PATIENCE = 60.0
"""Seconds for which draining is watched: longer than allowed, to tell what is slow from what is lost."""


class Run:
    """One run; ``perform()`` returns its verdict."""

    def __init__(self, server: EmbeddedServer, url: str, options: Options, logs: Path) -> None:
        self._server, self._url, self._options = server, url, options
        self._random = random.Random(options.seed)
        self._nursery = Nursery(logs)
        self._oracle = Oracle(url)
        self._workers: list[Process] = []
        self._feeder: Process | None = None
        self._restarts: list[Process] = []
        self._stopped: dict[Process, float] = {}
        self._began = self._last_fault = self._fed_after = self._next_look = self._fire_ceased = 0.0
        self._left_at_last = 0
        self._kills = self._feeder_kills = self._stops = 0

    def perform(self) -> Verdict:
        """Feed under fire, cease fire, drain, judge."""
        install(self._url)
        try:
            self._began = time.monotonic()
            self._workers = [self._worker(number) for number in range(self._options.workers)]
            self._feeder = self._feed()
            self._under_fire()
            drained = self._drain()
            return self._judge(drained)
        finally:
            self._oracle.close()
            self._nursery.clear()

    def _worker(self, number: int) -> Process:
        def main(label: str) -> Main:
            return children.worker(self._url, self._options, label, self._options.twin)

        return self._nursery.fork(f"worker{number}", main)

    def _feed(self) -> Process:
        return self._nursery.fork("feeder", lambda label: children.feeder(self._url, self._options, label, self._began))

    def _crash_server(self) -> Process:
        async def crash() -> None:
            self._server.restart(immediate=True)

        return self._nursery.fork("restart", lambda _: crash)

    def _under_fire(self) -> None:
        """Until all is fed and nearly handled: a kill per tick, a stop now and then, the server's crashes in time."""
        options = self._options
        crashes = [self._began + part * options.seconds for part in RESTARTS]
        next_kill, next_stop = self._began + 1.0, self._began + STOP_EVERY
        while not self._fed():
            now = time.monotonic()
            if crashes and now >= crashes[0]:
                crashes.pop(0)
                self._restarts.append(self._crash_server())
                self._last_fault = now
            if now >= next_stop:
                next_stop += STOP_EVERY
                self._stop_one(now)
            if now >= next_kill:
                next_kill = max(next_kill + options.kill_every, now)
                self._kill_one()
            self._resume(now)
            self._revive()
            time.sleep(0.01)
        self._fire_ceased = time.monotonic() - self._began
        for restart in self._restarts:
            restart.wait(60)

    def _fed(self) -> bool:
        """Whether all is fed, and nearly all handled under fire: the last fault must not be a relief."""
        if self._feeder is None:
            return self._nearly_handled()
        if self._feeder.ended():
            done = self._feeder.status == 0
            self._feeder = None if done else self._feed()
            self._fed_after = time.monotonic() - self._began
        return False

    def _nearly_handled(self) -> bool:
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + 0.5
        waiting = self._oracle.number(oracle.LOST, handler=TRANSACTIONAL[0])
        return waiting <= self._options.events // 100 or now > self._began + self._fed_after + PATIENCE

    def _kill_one(self) -> None:
        if self._feeder is not None and self._random.random() < 0.05:
            self._feeder.kill()
            self._feeder_kills += 1
            return
        victim = self._random.choice(self._workers)
        victim.kill()
        self._stopped.pop(victim, None)
        self._kills += 1
        self._last_fault = time.monotonic()

    def _stop_one(self, now: float) -> None:
        victim = self._random.choice(self._workers)
        victim.send(signal.SIGSTOP)
        self._stopped[victim] = now + 1.5 * self._options.lease
        self._stops += 1

    def _resume(self, now: float | None = None) -> None:
        for process, until in list(self._stopped.items()):
            if now is None or now >= until:
                process.send(signal.SIGCONT)
                del self._stopped[process]
                self._last_fault = time.monotonic()

    def _revive(self) -> None:
        for place, process in enumerate(self._workers):
            if process.ended():
                self._workers[place] = self._worker(place)

    def _drain(self) -> float:
        """Seconds from the last fault until nothing is left to do."""
        self._resume()
        self._left_at_last = self._oracle.number(oracle.LOST, handler=TRANSACTIONAL[0])
        while (seconds := time.monotonic() - self._last_fault) < PATIENCE:
            self._revive()
            if not self._left():
                return seconds
            time.sleep(0.05)
        return PATIENCE

    def _left(self) -> bool:
        ask = self._oracle.number
        return bool(
            any(ask(oracle.LOST, handler=handler) for handler in (*TRANSACTIONAL, PLAIN))
            or ask(oracle.WAITING)
            or ask(oracle.BLOCKED)
        )

    def _judge(self, drained: float) -> Verdict:
        ask, verdict = self._oracle.number, Verdict(f"effectively once (seed {self._options.seed})")
        committed = ask("SELECT count(*) FROM chaos.placed")
        verdict.told({
            "domain rows committed": committed, "seconds until all were fed": self._fed_after,
            "seconds under fire": self._fire_ceased,
            "kill -9 of workers": self._kills, "kill -9 of the feeder": self._feeder_kills,
            "SIGSTOPs past the lease": self._stops, "server crashes": len(self._restarts),
            "retried attempts": ask("SELECT count(*) FROM events.attempt"),
            "rows not handled yet at the last fault": self._left_at_last,
            "partitions taken over": ask(oracle.TAKEN_OVER),
        })  # fmt: skip
        for handler in TRANSACTIONAL:
            verdict.none_of({
                f"{handler}: rows without effect": ask(oracle.LOST, handler=handler),
                f"{handler}: effects repeated": ask(oracle.TWICE, handler=handler),
                f"{handler}: effects out of order": ask(oracle.DISORDER, handler=handler),
            })  # fmt: skip
        verdict.none_of({f"{PLAIN} (plain): rows without effect": ask(oracle.LOST, handler=PLAIN)})
        verdict.told({f"{PLAIN} (plain): repeated": ask(oracle.TWICE, handler=PLAIN)})
        verdict.none_of({
            "effects of rolled-back orders": ask(oracle.PHANTOMS),
            "deliveries stuck": ask(oracle.WAITING), "keys stuck": ask(oracle.BLOCKED),
            "dead letters": ask(oracle.DEAD),
            "rows missing at the end of feeding": max(0, self._options.events - committed),
            **self._oracle.audits(),
        })  # fmt: skip
        pace = self._options.events / self._options.seconds
        allowed = 2 * self._options.lease + self._left_at_last / pace
        verdict.checks.append(Check("seconds from the last fault to drained (two leases, then pace)", drained, allowed))
        return verdict
