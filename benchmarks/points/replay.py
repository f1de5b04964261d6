"""A million old events are replayed to one handler; are live events handled later for it?

One database serves every round. Its log is filled with old events before the worker's group exists. In each round
orders are published at 200 a second from a second process and handled by the worker: once while it replays the old
events to another, no-op handler as fast as it can, without a rate, and once while that replay is paused. Compared is
the live latency, COMMIT returned to handler start. The replay must go on until the last order has been published, else
the point fails; a replay that would be over too soon for another round is let to its end first, and another is begun.
The first of them is always let to its end, and must have delivered every old event once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic_ns, perf_counter
from typing import Any

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
_ENOUGH = 1.5  # of what a round replays at most: with less to go, its replay might be over before the round
_RATE = "replayed"
_REPLAYING, _ALONE = "while replaying", "while it is paused"

_OLD_EVENTS = """
    INSERT INTO events.event (lane, partition, name, id, correlation_id, aggregate, aggregate_id, key, payload)
    SELECT 1, n % 32, 'bench.shelf.counted', i.id, i.id, 'shelf', (n % 10000)::text, '/shelf/' || n % 10000,
           jsonb_build_object('shelf', n % 10000, 'number', n)
    FROM generate_series(1, $1::bigint) n
    CROSS JOIN LATERAL (SELECT gen_random_uuid() AS id WHERE n > 0) i
"""


_READ = """
    INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen)
    SELECT group_id, lane, partition, max(seq) + 1, pg_current_snapshot()
    FROM events.cursor_log GROUP BY group_id, lane, partition
"""


async def work(parent: Parent, *, url: str, path: str) -> None:
    """Measured process: the worker. Told ``begin`` it lets a replay go on, until ``pause`` or ``finish``."""
    from benchmarks import troubled

    starts, counted = Recording(), troubled.Counted()
    module = troubled.beside_replay(lambda event: starts.note(event.number, monotonic_ns()), counted)
    async with troubled.working(url, module) as application:
        replays = application.events.operations.replays
        parent.tell(ready=True)
        while (order := await parent.order()) != "stop":
            newest = next(iter(await replays.list(limit=1)), None)
            if order == "begin" and newest is not None and newest.state == "paused":
                await replays.resume(newest.id, actor="bench")
            elif order == "begin":
                preview = await replays.preview(troubled.REPLAYED)
                newest = await replays.start(troubled.REPLAYED, expected=preview.count, actor="bench")
            elif order == "pause" and newest is not None:
                await replays.pause(newest.id, actor="bench")
            async with asyncio.timeout(_DEADLINE):
                while order == "finish" and (await replays.list(limit=1))[0].state == "running":
                    await asyncio.sleep(_LOOK_AGAIN)
            view = (await replays.list(limit=1))[0]
            parent.tell(state=view.state, total=view.total, done=view.done, now=perf_counter())
    starts.save(path)
    parent.tell(calls=counted.calls)  # a replay that is paused goes on with what it has in hand


async def load_old(url: str, count: int) -> None:
    """Fill the log with what live delivery has dealt with: else its first batches, not the replay, would read it."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_OLD_EVENTS, count, timeout=_DEADLINE)
        await connection.execute(_READ)
    finally:
        await connection.close()


class Comparison:
    """The rounds on one database, and how far its replays are."""

    def __init__(self, stage: Stage, url: str) -> None:
        self._stage, self._url = stage, url
        self._left = self._most = self._calls = 0
        self._checked = False

    async def with_replay(self) -> Figures:
        """A round's live traffic beside a replay."""
        if self._left and self._left < self._most * _ENOUGH:
            await self.finish()
        async with self._working() as worker:
            begun = await _told(worker, "begin")
            await self._publish()
            ended = await _told(worker, "pause")
            if ended["state"] != "paused":
                raise RuntimeError("the replay was over before the last order was published: nothing ran beside it.")
            await asyncio.sleep(_DRAINING_SECONDS)
        done = ended["done"] - begun["done"]
        self._left, self._most = ended["total"] - ended["done"], max(self._most, done)
        return self._figures() | {_RATE: done / (ended["now"] - begun["now"])}

    async def without(self) -> Figures:
        """The same beside a replay that is paused."""
        async with self._working():
            await self._publish()
            await asyncio.sleep(_DRAINING_SECONDS)
        return self._figures()

    async def finish(self) -> None:
        """Let the replay that is open come to its end, and look whether it delivered every old event once."""
        async with self._working() as worker:
            await _told(worker, "begin")
            end = await _told(worker, "finish")
        old, calls, self._calls, self._left = self._stage.scaled(*_OLD), self._calls, 0, 0
        if not end["total"] == end["done"] == calls == old:
            raise RuntimeError(
                f"{end['done']} of {end['total']} were done in {calls} calls; there are {old} old events."
            )
        self._checked = True

    async def check_once(self) -> None:
        """Let the first replay come to its end, if no round has."""
        if not self._checked:
            await self.finish()

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[Child]:
        await settle(self._url)
        async with child(work, url=self._url, path=str(self._stage.folder / "handled")) as worker:
            await worker.message()
            yield worker
            self._calls += (await worker.stop())["calls"]

    async def _publish(self) -> None:
        count = _PER_SECOND * (_WARM_UP_SECONDS + self._stage.scaled(*_SECONDS))
        options = {"name": OURS, "url": self._url, "path": str(self._stage.folder / "published"), "count": count}
        async with child(latency.produce, **options, per_second=_PER_SECOND) as publisher:
            await publisher.message()

    def _figures(self) -> dict[str, float]:
        handled, published = self._stage.folder / "handled", self._stage.folder / "published"
        measured = latency.figures(handled, published, skipped=_PER_SECOND * _WARM_UP_SECONDS)
        return {quantile: measured[quantile] for quantile in ("p50", "p99")}


async def _told(worker: Child, order: str) -> dict[str, Any]:
    await worker.order(order)
    return dict(await worker.message())


async def run(stage: Stage) -> Finding:
    """With and without the replay, interleaved."""
    async with stage.installed(OURS) as url:
        await load_old(url, stage.scaled(*_OLD))
        comparison = Comparison(stage, url)
        measures = {_REPLAYING: comparison.with_replay, _ALONE: comparison.without}
        rounds = await interleave(stage.rounds, measures, title="replay")
        await comparison.check_once()
    return Finding(
        title="Replay: latency of live events while old ones are replayed",
        how=f"{stage.scaled(*_SECONDS)} s at {_PER_SECOND}/s, COMMIT returned to handler start in another process; "
        f"meanwhile {stage.scaled(*_OLD):,} old events are replayed to one no-op handler there, without a rate.",
        rows=[
            *(Row(label, name, "ms", rounds.spread(label, name)) for name in ("p50", "p99") for label in measures),
            Row(_REPLAYING, _RATE, "events/s", rounds.spread(_REPLAYING, _RATE)),
        ],
        ratios=[Ratio("p99: with / without", rounds.ratio((_REPLAYING, "p99"), (_ALONE, "p99")), ("≤", 1.5))],
    )
