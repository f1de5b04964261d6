"""Workers are killed, and stopped past their lease: effects are neither lost, nor doubled, nor out of order."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.delivery.stage import Placed, Stage, publish, until

SCRIPT = Path(__file__).parent / "worker_process.py"
ORDERS, EACH = 8, 24


class Workers:
    """Worker processes that are started again when they die."""

    def __init__(self, url: str, count: int) -> None:
        self.url, self.processes = url, [self._start(url) for _ in range(count)]
        self.kills = self.stops = 0

    @staticmethod
    def _start(url: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(SCRIPT), url], stderr=subprocess.DEVNULL)

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].wait()
        self.processes[index] = self._start(self.url)
        self.kills += 1

    async def stop_for(self, index: int, seconds: float) -> None:
        pid = self.processes[index].pid
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)  # the fault itself: longer than the lease
        os.kill(pid, signal.SIGCONT)
        self.stops += 1

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def chance() -> random.Random:
    return random.Random(20)


@pytest.mark.slow
@pytest.mark.long
async def test_effects_of_transactional_handlers_survive_kills_and_stops(stage: Stage, chance: random.Random) -> None:
    publisher = await stage.idle()
    await stage.rows("INSERT INTO events.consumer_group (name) VALUES ('app') ON CONFLICT DO NOTHING")
    workers = Workers(stage.url, 2)
    try:
        await until(lambda: stage.value("SELECT count(*) >= 1 FROM events.handler WHERE started_after IS NOT NULL"))
        for number in range(EACH):
            await publish(publisher, [Placed(order=str(order), number=number) for order in range(ORDERS)])
            if number % 8 == 4:
                workers.kill(chance.randrange(2))
            if number == 9:
                await workers.stop_for(chance.randrange(2), 1.0)

        async def complete() -> bool:
            return bool(await stage.value("SELECT count(*) FROM effect") >= ORDERS * EACH)

        await until(complete, "all effects", 60)
    finally:
        workers.end()
    rows = await stage.rows(
        "SELECT handler, array_agg(number ORDER BY written) AS numbers FROM effect GROUP BY handler"
    )
    assert {row["handler"]: row["numbers"] for row in rows} == {str(n): list(range(EACH)) for n in range(ORDERS)}
    assert await stage.deliveries("dead") == []
    assert (workers.kills, workers.stops) == (3, 1)


@pytest.mark.slow
@pytest.mark.long
async def test_sigterm_ends_a_worker_in_good_order(stage: Stage) -> None:
    workers = Workers(stage.url, 1)
    try:
        await until(lambda: stage.value("SELECT count(*) FROM events.worker"), seconds=30)
        workers.processes[0].send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(workers.processes[0].wait, 15)
        assert status == 0
        assert await stage.value("SELECT count(*) FROM events.worker") == 0
    finally:
        workers.end()
