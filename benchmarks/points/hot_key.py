"""50 000 events of one key are parked behind one that failed; do events of other keys notice?

They are published while no worker runs. Then a worker is started whose handler fails at the first of them and is to
try it again an hour later, so that all others have to wait: the time until all do is that of the parking. Its handler
must have been called once. The worker is stopped, and the same handler's events of other keys are measured twice:
a backlog, drained by a new process, and then one event per transaction at 50 a second, COMMIT returned to handler start
in yet another process. The same is measured in a database without the parked ones.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.child import Parent
from benchmarks.deliveries import counted, until_waiting
from benchmarks.points.drain import RATE, drain
from benchmarks.points.latency import between_processes
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, subject

if TYPE_CHECKING:
    from benchmarks.ours import OrderPlaced

_HOT = (50_000, 5_000)
_OTHERS = (20_000, 5_000)
_PARKING_SECONDS = 300.0
_PARKED, _NONE = "with the parked key", "fresh database"
_TIME, _PARKING, _PARKING_RATE = "drain of others", "parking", "parked"


class HeadFailedError(Exception):
    """Raised at the first event of the key."""


async def park(parent: Parent, *, url: str) -> None:
    """Measured process: a worker whose handler fails at the head of the key, until told to stop."""
    from benchmarks import troubled

    calls: list[int] = []

    def called(event: OrderPlaced) -> None:
        calls.append(event.number)
        raise HeadFailedError("the first of its key")

    async with troubled.working(url, troubled.failing_head(called)):
        parent.tell(ready=True)
        await parent.order()
    parent.tell(calls=calls)


async def _parking(stage: Stage, url: str) -> float:
    """Publish and park the key's events; returns how many seconds the parking took."""
    from benchmarks import troubled

    count = stage.scaled(*_HOT)
    await troubled.load_one_key(url, count)
    await settle(url)
    async with child(park, url=url) as worker:
        await worker.message()
        begun = perf_counter()
        await until_waiting(stage.server, url, count, deadline=_PARKING_SECONDS)
        seconds = perf_counter() - begun
        calls = (await worker.stop())["calls"]
    if calls != [1]:
        raise RuntimeError(f"only the head of the key was to be tried, once; tried were {calls[:10]}.")
    return seconds


async def _measure(stage: Stage, *, parked: bool) -> Figures:
    others, hot = stage.scaled(*_OTHERS), stage.scaled(*_HOT) if parked else 0
    figures: dict[str, float] = {}
    async with stage.installed(OURS) as url:
        if parked:
            figures[_PARKING] = await _parking(stage, url)
            figures[_PARKING_RATE] = hot / figures[_PARKING]
        await subject(OURS).load(url, others)
        await settle(url)
        async with child(drain, name=OURS, url=url, expected=others) as worker:
            figures[_TIME] = others / (await worker.message())[RATE] * 1000
        figures |= await between_processes(stage, OURS, url)
        if unfinished := await subject(OURS).unfinished(url):
            raise RuntimeError(f"{unfinished} events of other keys were left unfinished.")
        states = await counted(stage.server, url)
    if states != ({"waiting": hot} if parked else {}):
        raise RuntimeError(f"{hot} deliveries were to wait, and nothing else; they stand so: {dict(states)}.")
    return figures


async def run(stage: Stage) -> Finding:
    """With the parked key and in a fresh database, interleaved."""
    measures = {_PARKED: partial(_measure, stage, parked=True), _NONE: partial(_measure, stage, parked=False)}
    rounds = await interleave(stage.rounds, measures, title="hot key")
    names = (_TIME, "p50", "p99")
    return Finding(
        title="A hot key: many events parked behind one that failed",
        how=f"{stage.scaled(*_HOT)} events of one key wait, the first because it failed. Of the same handler's events "
        f"of other keys {stage.scaled(*_OTHERS)} are drained by one process; then the latency at 50/s, COMMIT returned "
        "to handler start in another process.",
        rows=[
            *(Row(label, name, "ms", rounds.spread(label, name)) for name in names for label in measures),
            Row(_PARKED, _PARKING, "s", rounds.spread(_PARKED, _PARKING)),
            Row(_PARKED, _PARKING_RATE, "events/s", rounds.spread(_PARKED, _PARKING_RATE)),
        ],
        ratios=[
            Ratio(f"others, {name}: parked / fresh", rounds.ratio((_PARKED, name), (_NONE, name)), ("≤", 2.0))
            for name in names
        ],
    )
