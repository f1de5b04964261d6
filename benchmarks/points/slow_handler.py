"""One handler takes 10 s, among 1 000 fast ones of the same lane in the same process.

Orders are published at an even pace; right before the first that counts, one report is committed, whose handler takes
10 s, two less than the orders. Compared is the orders' latency, COMMIT returned to handler start in another process,
with the same run without the report. The report's handler must have run once, and within the orders' time, else the
point fails.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, Literal

from benchmarks.child import Parent
from benchmarks.points.latency import publish_evenly
from benchmarks.processes import child
from benchmarks.recording import NANOSECONDS, Recording, first_of_each, load, milliseconds, quantile
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, Committed

if TYPE_CHECKING:
    from benchmarks.ours import OrderPlaced

_FAST = (1_000, 400)
_SECONDS = (12, 5)
_SLOW_SECONDS = (10, 3)
_WARM_UP_SECONDS = 2
_DRAINING_SECONDS = 2.0
_SLOW, _NONE = "with the slow handler", "without"
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "longest": 1.0}
_BEGUN, _ENDED = 1, 2


async def consume(parent: Parent, *, url: str, path: str, slow_seconds: float) -> None:
    """Measured process: the worker, until told to stop."""
    from benchmarks import troubled

    starts, slow = Recording(), Recording()

    def fast(event: OrderPlaced) -> None:
        instant = monotonic_ns()
        starts.note(event.number, instant)

    def slowly(moment: Literal["begun", "ended"]) -> None:
        slow.note(_BEGUN if moment == "begun" else _ENDED)

    async with troubled.working(url, troubled.beside_slow(fast, slowly, slow_seconds)):
        parent.tell(ready=True)
        await parent.order()
    starts.save(f"{path}.fast")
    slow.save(f"{path}.slow")
    parent.tell(saved=True)


async def produce(parent: Parent, *, url: str, path: str, warm_up: int, count: int, pace: float, slow: bool) -> None:
    """Measured process: the orders, and before those that count the report, if there is to be one."""
    from benchmarks import ours, troubled

    sent, returned = Recording(), Recording()
    async with ours.running(url) as application:

        async def publish(number: int) -> Committed:
            return await application.commit_events([number])

        await publish_evenly(publish, range(1, warm_up + 1), pace, sent, Recording())
        if slow:
            async with application.sessions() as session:
                await application.events.publish(troubled.ReportRequested(number=1), session=session)
                await session.commit()
        await publish_evenly(publish, range(warm_up + 1, warm_up + count + 1), pace, sent, returned)
    returned.save(path)
    parent.tell(saved=True)


async def _measure(stage: Stage, *, slow: bool) -> Figures:
    handled, published = stage.folder / "handled", stage.folder / "published"
    count, slow_seconds = stage.scaled(*_FAST), stage.scaled(*_SLOW_SECONDS)
    pace = count / stage.scaled(*_SECONDS)
    async with stage.installed(OURS) as url:
        await settle(url)
        async with child(consume, url=url, path=str(handled), slow_seconds=slow_seconds) as worker:
            await worker.message()
            options = {"warm_up": round(pace * _WARM_UP_SECONDS), "count": count, "pace": pace, "slow": slow}
            async with child(produce, url=url, path=str(published), **options) as publisher:
                await publisher.message()
            await asyncio.sleep(_DRAINING_SECONDS)
            await worker.stop()
    returned = first_of_each(load(published))
    if slow:
        _check(load(Path(f"{handled}.slow")), slow_seconds, last=max(returned.values()))
    waited = milliseconds(returned, first_of_each(load(Path(f"{handled}.fast"))))
    return {name: quantile(waited, share) for name, share in _QUANTILES.items()}


def _check(noted: list[tuple[int, int]], seconds: float, *, last: int) -> None:
    """Raise if the slow handler did not run once, for as long as it should, while orders were published."""
    if [moment for moment, _ in noted] != [_BEGUN, _ENDED]:
        raise RuntimeError(f"the slow handler was to begin once and end once; it noted {noted}.")
    (_, begun), (_, ended) = noted
    if ended - begun < 0.99 * seconds * NANOSECONDS or ended > last:
        raise RuntimeError("the slow handler did not run while the orders were published.")


async def run(stage: Stage) -> Finding:
    """With and without the slow handler, interleaved."""
    measures = {_SLOW: partial(_measure, stage, slow=True), _NONE: partial(_measure, stage, slow=False)}
    rounds = await interleave(stage.rounds, measures, title="slow handler")
    return Finding(
        title="A slow handler among fast ones of its lane",
        how=f"{stage.scaled(*_FAST)} orders in {stage.scaled(*_SECONDS)} s, one event each; one handler of the same "
        f"lane takes {stage.scaled(*_SLOW_SECONDS)} s meanwhile. The orders' latency, COMMIT returned to handler start "
        "in another process.",
        rows=[Row(label, name, "ms", rounds.spread(label, name)) for name in _QUANTILES for label in measures],
        ratios=[Ratio("p99: with / without", rounds.ratio((_SLOW, "p99"), (_NONE, "p99")), ("≤", 2.0))],
    )
