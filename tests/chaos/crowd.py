"""Workers under fire: killed and frozen by chance, and replaced at once."""

from __future__ import annotations

import math
import random
import signal
import time
from collections.abc import Callable

from tests.chaos.processes import Main, Nursery, Process


class Crowd:
    """``count`` processes; every ``kill_every`` seconds one of them is killed, every ``stop_every`` one is frozen.

    A frozen one goes on after ``stop_for`` seconds, which should be more than a lease. ``main`` makes what the process
    at a place does under a label.
    """

    def __init__(
        self, nursery: Nursery, name: str, count: int, main: Callable[[int, str], Main], *, seed: int,
        kill_every: float = math.inf, stop_every: float = math.inf, stop_for: float = 0.0,
    ) -> None:  # fmt: skip
        self._nursery, self._name, self._main = nursery, name, main
        self._random, self._stopped = random.Random(seed), dict[Process, float]()
        self._kill_every, self._stop_every, self._stop_for = kill_every, stop_every, stop_for
        self._next_kill = time.monotonic() + max(1.0, kill_every)
        self._next_stop = time.monotonic() + stop_every
        self.kills = self.stops = self.failures = 0
        self.killed: Callable[[Process], None] = lambda _: None
        self.workers = [self._fork(place) for place in range(count)]

    def _fork(self, place: int) -> Process:
        return self._nursery.fork(f"{self._name}{place}", lambda label: self._main(place, label))

    def tend(self) -> None:
        """Whatever is due: a kill, a freeze, a thaw. To be called often."""
        now = time.monotonic()
        if now >= self._next_stop:
            self._next_stop = now + self._stop_every
            victim = self._random.choice(self.workers)
            victim.send(signal.SIGSTOP)
            self._stopped[victim] = now + self._stop_for
            self.stops += 1
        if now >= self._next_kill:
            self._next_kill = now + self._kill_every
            self._kill(self._random.choice(self.workers))
        for process, until in list(self._stopped.items()):
            if now >= until:
                process.send(signal.SIGCONT)
                del self._stopped[process]
        self.revive()

    def _kill(self, victim: Process) -> None:
        victim.kill()
        self._stopped.pop(victim, None)
        self.kills += 1
        self.killed(victim)
        self.workers[self.workers.index(victim)] = self._fork(self.workers.index(victim))

    def cease(self) -> None:
        """No more fire; who is frozen goes on."""
        self._next_kill = self._next_stop = math.inf
        for process in self._stopped:
            process.send(signal.SIGCONT)
        self._stopped.clear()

    def revive(self) -> None:
        """Replace who has ended by itself, which none should."""
        for place, process in enumerate(self.workers):
            if process.ended():
                self.failures += 1
                self.workers[place] = self._fork(place)

    def until(self, done: Callable[[], bool], seconds: float = math.inf) -> bool:
        """Tend until something is so; False if it is not within ``seconds``."""
        deadline, next_look = time.monotonic() + seconds, 0.0
        while True:
            self.tend()
            if time.monotonic() >= next_look:
                if done():
                    return True
                next_look = time.monotonic() + 0.1
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
