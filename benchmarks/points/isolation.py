"""Outbound handlers hang, all that may run at once; is a change event handled later for it?

Ten outbound events fill the lane: six of a handler with a session, which is as many connections as one lane gets, and
four of one without. None of their handlers returns. More of both kinds are published all the while. Then orders, of
the lane of changes, are published at 50 a second from a third process, and handled by a handler without a session and,
after it, by one with a session. Compared are both latencies, COMMIT returned to handler start, with the same run
without any outbound event. The lane must be full before the first order and after the last, else the point fails.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

from benchmarks.child import Parent
from benchmarks.points import latency
from benchmarks.processes import Child, child
from benchmarks.recording import Recording
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS, Started

if TYPE_CHECKING:
    from benchmarks.ours import OrderPlaced

_PER_SECOND = 50
_WARM_UP_SECONDS = 2
_SECONDS = (20, 4)
_OUTBOUND_PER_SECOND = 20.0
_IN_SESSIONS = 6
_DRAINING_SECONDS = 1.0
_FILLING_SECONDS = 20.0
_HANGING, _NONE = "with outbound handlers hanging", "without"
_KINDS = {"plain": "handler without a session", "in_session": "handler with a session"}


async def consume(parent: Parent, *, url: str, path: str) -> None:
    """Measured process: the worker; told ``count`` it says how many handlers hang, told ``stop`` it stops."""
    from benchmarks import troubled

    starts = {kind: Recording() for kind in _KINDS}
    hang = troubled.Hanging()

    def noting(kind: str) -> Started:
        def started(event: OrderPlaced) -> None:
            instant = monotonic_ns()
            starts[kind].note(event.number, instant)

        return started

    module = troubled.beside_hanging(noting("plain"), noting("in_session"), hang)
    async with troubled.working(url, module):
        parent.tell(ready=True)
        while await parent.order() == "count":
            parent.tell(hanging=hang.count)
        hang.release()
    for kind, recording in starts.items():
        recording.save(f"{path}.{kind}")
    parent.tell(saved=True)


async def flood(parent: Parent, *, url: str) -> None:
    """Measured process: fills the outbound lane at once, then goes on at a pace until told to stop."""
    from benchmarks import ours, troubled

    numbers = itertools.count(1)
    async with ours.running(url) as application:

        async def commit(receipts: int, invoices: int) -> None:
            async with application.sessions() as session:
                events = [troubled.ReceiptRequested(number=next(numbers)) for _ in range(receipts)]
                others = [troubled.InvoiceRequested(number=next(numbers)) for _ in range(invoices)]
                for event in (*events, *others):
                    await application.events.publish(event, session=session)
                await session.commit()

        await commit(troubled.concurrency("outbound") - _IN_SESSIONS, _IN_SESSIONS)
        told = asyncio.create_task(parent.order())
        for turn in itertools.cycle((0, 1)):
            done, _ = await asyncio.wait({told}, timeout=1 / _OUTBOUND_PER_SECOND)
            if done:
                break
            await commit(turn, 1 - turn)
    parent.tell(published=next(numbers) - 1)


@asynccontextmanager
async def _full_lane(url: str, worker: Child) -> AsyncIterator[None]:
    from benchmarks import troubled

    limit = troubled.concurrency("outbound")
    async with child(flood, url=url) as flooding:
        async with asyncio.timeout(_FILLING_SECONDS):
            while (hanging := await _hanging(worker)) < limit:
                await asyncio.sleep(0.1)
        yield
        if (hanging := await _hanging(worker)) != limit:
            raise RuntimeError(f"{hanging} outbound handlers hung at the end, not {limit}: the lane was not full.")
        await flooding.stop()


@asynccontextmanager
async def _empty_lane(url: str, worker: Child) -> AsyncIterator[None]:
    yield


async def _hanging(worker: Child) -> int:
    await worker.order("count")
    return int((await worker.message())["hanging"])


async def _measure(stage: Stage, *, hanging: bool) -> Figures:
    count = _PER_SECOND * (_WARM_UP_SECONDS + stage.scaled(*_SECONDS))
    handled, published = stage.folder / "handled", stage.folder / "published"
    outbound = _full_lane if hanging else _empty_lane
    async with stage.installed(OURS) as url:
        await settle(url)
        async with child(consume, url=url, path=str(handled)) as worker:
            await worker.message()
            async with outbound(url, worker):
                options = {"name": OURS, "url": url, "path": str(published), "count": count}
                async with child(latency.produce, **options, per_second=_PER_SECOND) as publisher:
                    await publisher.message()
                await asyncio.sleep(_DRAINING_SECONDS)
            await worker.stop()
    figures: dict[str, float] = {}
    for kind, name in _KINDS.items():
        measured = latency.figures(Path(f"{handled}.{kind}"), published, skipped=_PER_SECOND * _WARM_UP_SECONDS)
        figures |= {f"{name}, {quantile}": measured[quantile] for quantile in ("p50", "p99")}
    return figures


async def run(stage: Stage) -> Finding:
    """With and without the hanging handlers, interleaved."""
    measures = {_HANGING: partial(_measure, stage, hanging=True), _NONE: partial(_measure, stage, hanging=False)}
    rounds = await interleave(stage.rounds, measures, title="isolation")
    names = [f"{name}, {quantile}" for quantile in ("p50", "p99") for name in _KINDS.values()]
    return Finding(
        title="Isolation: latency of changes while the outbound lane is full of handlers that hang",
        how=f"{stage.scaled(*_SECONDS)} s at {_PER_SECOND} changes/s, COMMIT returned to handler start in another "
        f"process; {_IN_SESSIONS} of the hanging handlers hold a session, and {_OUTBOUND_PER_SECOND:g} more outbound "
        "events are published per second.",
        rows=[Row(label, name, "ms", rounds.spread(label, name)) for name in names for label in measures],
        ratios=[
            Ratio(f"{name}, p99: with / without", rounds.ratio((_HANGING, f"{name}, p99"), (_NONE, f"{name}, p99")),
                  ("≤", 1.5))
            for name in _KINDS.values()
        ],
    )  # fmt: skip
