"""One transaction stays open for 30 s while 5 000 others commit.

The open one publishes ten events at its very beginning, under ids of its own, so that their rows are inserted at once,
at low positions and with an old transaction id, and stay invisible. Others commit one event each at an even pace
meanwhile. Then the open one commits. Compared is the others' latency, COMMIT returned to handler start in another
process, with the same run without the open transaction; of the open one's events, the longest time from its COMMIT.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic_ns
from uuid import uuid4

from sqlalchemy import text

from benchmarks.child import Parent
from benchmarks.points.latency import consume, publish_evenly
from benchmarks.processes import child
from benchmarks.recording import Recording, first_of_each, load, milliseconds, quantile
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, Spread, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, Committed

_OTHERS = (5_000, 400)
_OPEN_SECONDS = (30, 4)
_OWN = range(1, 11)
_FIRST_OTHER = 1001
_DRAINING_SECONDS = 2.0
_OPEN, _NONE = "with the open transaction", "without"


async def publish_beside(parent: Parent, *, url: str, path: str, others: int, seconds: float, late: bool) -> None:
    """Measured process: the open transaction, if there is to be one, and the others."""
    from benchmarks import ours

    own, sent, returned = Recording(), Recording(), Recording()
    async with ours.running(url) as application, _open(application, own if late else None):

        async def publish(number: int) -> Committed:
            return await application.commit_events([number])

        numbers = range(_FIRST_OTHER, _FIRST_OTHER + others)
        await publish_evenly(publish, numbers, others / seconds, sent, returned)
    own.save(f"{path}.own")
    returned.save(f"{path}.returned")
    parent.tell(saved=True)


@asynccontextmanager
async def _open(application: object, own: Recording | None) -> AsyncIterator[None]:
    from benchmarks import ours

    assert isinstance(application, ours.Application)
    if own is None:
        yield
        return
    async with application.sessions() as session:
        for number in _OWN:
            await application.publish(session, number, event_id=uuid4())
        # Rows that waited in the session's buffer would hold nobody back, and this point would measure nothing.
        if not await session.scalar(text("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")):
            raise RuntimeError("the open transaction has written nothing yet: its events were not inserted at once.")
        yield
        await session.commit()
        instant = monotonic_ns()
        for number in _OWN:
            own.note(number, instant)
        # The others' worker is still running: stay until the wake-up that follows this commit is out.
        await asyncio.sleep(_DRAINING_SECONDS)


async def _measure(stage: Stage, *, late: bool) -> Figures:
    handled, published = stage.folder / "handled", stage.folder / "published"
    sizes = {"others": stage.scaled(*_OTHERS), "seconds": stage.scaled(*_OPEN_SECONDS)}
    async with stage.installed(OURS) as url:
        await settle(url)
        async with child(consume, name=OURS, url=url, path=str(handled)) as worker:
            await worker.message()
            async with child(publish_beside, url=url, path=str(published), late=late, **sizes) as publisher:
                await publisher.message()
            await asyncio.sleep(_DRAINING_SECONDS)
            await worker.stop()
    starts = first_of_each(load(handled))
    others = milliseconds(first_of_each(load(Path(f"{published}.returned"))), starts)
    own = milliseconds(first_of_each(load(Path(f"{published}.own"))), starts)
    return {"p50": quantile(others, 0.5), "p99": quantile(others, 0.99), **({"own": max(own)} if late else {})}


async def run(stage: Stage) -> Finding:
    """With and without the open transaction, interleaved."""
    measures = {_OPEN: partial(_measure, stage, late=True), _NONE: partial(_measure, stage, late=False)}
    rounds = await interleave(stage.rounds, measures, title="late commit")
    own_seconds = Spread.of([longest / 1000 for longest in rounds.values(_OPEN, "own")])
    return Finding(
        title="Late commit: one transaction open while others commit",
        how=f"Open for {stage.scaled(*_OPEN_SECONDS)} s while {stage.scaled(*_OTHERS)} others commit one event each; "
        "the others' latency, and the open one's events after its own COMMIT.",
        rows=[
            *(Row(f"others, {label}", "p50", "ms", rounds.spread(label, "p50")) for label in measures),
            *(Row(f"others, {label}", "p99", "ms", rounds.spread(label, "p99")) for label in measures),
            Row("the open transaction's events", "longest", "ms", rounds.spread(_OPEN, "own")),
        ],
        ratios=[
            Ratio("others' p99: with / without", rounds.ratio((_OPEN, "p99"), (_NONE, "p99")), ("≤", 2.0)),
            Ratio("own events after COMMIT, seconds", own_seconds, ("≤", 1.0)),
        ],
    )
