"""A million old events are replayed to one handler; are live events handled later for it?

The log is filled with old events before the worker's group exists. Then orders are published at 200 a second from a
second process and handled by the worker: in the one case while it replays the old events to another, no-op handler as
fast as it can, without a rate. Compared is the live latency, COMMIT returned to handler start. The replay must go on
until the last order has been published, and must then have delivered every old event once, else the point fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic_ns, perf_counter

import asyncpg

from benchmarks.child import Parent
from benchmarks.points import latency
from benchmarks.processes import Child, child
from benchmarks.recording import Recording
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS

_PER_SECOND = 200
_WARM_UP_SECONDS = 2
_SECONDS = (40, 4)
_OLD = (1_000_000, 100_000)
_DRAINING_SECONDS = 1.0
_DEADLINE = 1800.0
_LOOK_AGAIN = 0.25
_RATE = "replayed"
_REPLAYING, _ALONE = "while replaying", "without"

_OLD_EVENTS = """
    INSERT INTO events.event (lane, partition, name, id, correlation_id, aggregate, aggregate_id, key, payload)
    SELECT 1, n % 32, 'bench.shelf.counted', i.id, i.id, 'shelf', (n % 10000)::text, '/shelf/' || n % 10000,
           jsonb_build_object('shelf', n % 10000, 'number', n)
    FROM generate_series(1, $1::bigint) n
    CROSS JOIN LATERAL (SELECT gen_random_uuid() AS id WHERE n > 0) i
"""


async def work(parent: Parent, *, url: str, path: str) -> None:
    """Measured process: the worker; told ``replay`` it starts one, told ``wait`` it tells of its end."""
    from benchmarks import troubled

    starts, counted = Recording(), troubled.Counted()
    module = troubled.beside_replay(lambda event: starts.note(event.number, monotonic_ns()), counted)
    async with troubled.working(url, module) as application:
        replays = application.events.operations.replays
        parent.tell(ready=True)
        while (order := await parent.order()) != "stop":
            if order == "replay":
                preview = await replays.preview(troubled.REPLAYED)
                began = perf_counter()
                view = await replays.start(troubled.REPLAYED, expected=preview.count, actor="bench")
                parent.tell(total=view.total)
                continue
            goes_on = (await replays.list())[0].state == "running"
            async with asyncio.timeout(_DEADLINE):
                while (view := (await replays.list())[0]).state == "running":
                    await asyncio.sleep(_LOOK_AGAIN)
            parent.tell(goes_on=goes_on, seconds=perf_counter() - began, done=view.done, calls=counted.calls)
    starts.save(path)
    parent.tell(saved=True)


async def load_old(url: str, count: int) -> None:
    """Fill the log."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_OLD_EVENTS, count, timeout=_DEADLINE)
    finally:
        await connection.close()


@asynccontextmanager
async def _replay(worker: Child, old: int, figures: dict[str, float]) -> AsyncIterator[None]:
    await worker.order("replay")
    total = (await worker.message())["total"]
    yield
    await worker.order("wait")
    end = await worker.message()
    if not end["goes_on"]:
        raise RuntimeError("the replay was over before the last order was published: nothing ran beside it.")
    if not total == end["done"] == end["calls"] == old:
        raise RuntimeError(f"{end['done']} of {total} were done in {end['calls']} calls; there are {old} old events.")
    figures[_RATE] = old / end["seconds"]


@asynccontextmanager
async def _nothing(worker: Child, old: int, figures: dict[str, float]) -> AsyncIterator[None]:
    yield


async def _measure(stage: Stage, *, replays: bool) -> Figures:
    count, old = _PER_SECOND * (_WARM_UP_SECONDS + stage.scaled(*_SECONDS)), stage.scaled(*_OLD)
    handled, published = stage.folder / "handled", stage.folder / "published"
    figures: dict[str, float] = {}
    async with stage.installed(OURS) as url:
        await load_old(url, old)
        await settle(url)
        async with child(work, url=url, path=str(handled)) as worker:
            await worker.message()
            async with (_replay if replays else _nothing)(worker, old, figures):
                options = {"name": OURS, "url": url, "path": str(published), "count": count}
                async with child(latency.produce, **options, per_second=_PER_SECOND) as publisher:
                    await publisher.message()
            await asyncio.sleep(_DRAINING_SECONDS)
            await worker.stop()
    measured = latency.figures(handled, published, skipped=_PER_SECOND * _WARM_UP_SECONDS)
    return figures | {quantile: measured[quantile] for quantile in ("p50", "p99")}


async def run(stage: Stage) -> Finding:
    """With and without the replay, interleaved."""
    measures = {_REPLAYING: partial(_measure, stage, replays=True), _ALONE: partial(_measure, stage, replays=False)}
    rounds = await interleave(stage.rounds, measures, title="replay")
    return Finding(
        title="Replay: latency of live events while old ones are replayed",
        how=f"{stage.scaled(*_SECONDS)} s at {_PER_SECOND}/s, COMMIT returned to handler start in another process; "
        f"meanwhile {stage.scaled(*_OLD)} old events are replayed to one no-op handler there, without a rate.",
        rows=[
            *(Row(label, name, "ms", rounds.spread(label, name)) for name in ("p50", "p99") for label in measures),
            Row(_REPLAYING, _RATE, "events/s", rounds.spread(_REPLAYING, _RATE)),
        ],
        ratios=[Ratio("p99: with / without", rounds.ratio((_REPLAYING, "p99"), (_ALONE, "p99")), ("≤", 1.5))],
    )
