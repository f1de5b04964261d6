"""The same with real processes that really end, as a supervisor starts them again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.delivery.stage import Placed, Stage, publish, until

SCRIPT = Path(__file__).parent / "crashing_process.py"
POISON, IN_COMPANY, ALONE = 13, 2, 3


@pytest.mark.slow
@pytest.mark.long
async def test_an_event_ends_five_processes_and_nobody_elses_delivery(stage: Stage) -> None:
    publisher = await stage.idle()
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        processes.append(subprocess.Popen([sys.executable, str(SCRIPT), stage.url], stderr=subprocess.DEVNULL))

    async def is_dead() -> bool:
        if processes[-1].poll() is not None:
            start()
        return bool(await stage.value("SELECT count(*) FROM events.delivery WHERE state = 'dead'"))

    start()
    try:
        await until(lambda: stage.value("SELECT count(*) FROM events.handler WHERE started_after IS NOT NULL"))
        await publish(publisher, [Placed(order=str(number % 5), number=number) for number in range(20)])
        await until(is_dead, "the death of the culprit", 90)
        waiting = "SELECT count(*) = 1 FROM events.delivery WHERE state = 'waiting'"
        await until(lambda: stage.value(waiting), "all but what waits behind it")
        assert processes[-1].poll() is None
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes[:-1]] == [139] * (IN_COMPANY + ALONE)
    rows = await stage.rows("SELECT handler, array_agg(number ORDER BY written) AS numbers FROM effect GROUP BY 1")
    expected = {str(order): list(range(order, 20, 5)) for order in range(5)} | {"3": [3, 8]}
    assert {row["handler"]: row["numbers"] for row in rows} == expected
    [dead] = await stage.deliveries("dead")
    assert (dead["reason"], dead["crashes"]) == ("crashed_worker", ALONE)
    [behind] = await stage.deliveries("waiting")
    assert (behind["slot"], behind["position"] > dead["position"]) == (dead["slot"], True)
