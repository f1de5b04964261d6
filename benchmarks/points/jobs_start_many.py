"""Starting 1 000 jobs in one call, in the caller's transaction, beside PgQueuer's bulk enqueue.

One process, one transaction after the other, each a call with 1 000 orders of 1 kB, models that are there already, and
COMMIT. Ours checks and serialises them; PgQueuer is measured with the user's code that makes bytes of the models, as it
has to be somewhere, and with bytes that are there. Ours goes by a session of SQLAlchemy's, and by asyncpg's connection
as PgQueuer does. Nobody works meanwhile. The server counts the statements of one call, without BEGIN and COMMIT.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter

from benchmarks.child import Parent
from benchmarks.processes import Child, child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.stage import Stage
from benchmarks.statements import Counter, statement_counter

_CALLS = (30, 5)
_PER_CALL = 1000
_COUNTED = 5
_AFTER_SECONDS = 0.3
"""In which others are told of the commit."""
_RATE, _STATEMENTS = "rate", "statements per call"
_BY_SESSION, _BY_CONNECTION = "jobs, by session", "jobs, by connection"
_OF_MODELS, _OF_BYTES = "pgqueuer, of models", "pgqueuer, of bytes"
_PRODUCTS = {_BY_SESSION: "jobs", _BY_CONNECTION: "jobs", _OF_MODELS: "pgqueuer", _OF_BYTES: "pgqueuer"}

Call = Callable[[], Awaitable[None]]


@asynccontextmanager
async def _calling(way: str, url: str) -> AsyncIterator[Call]:
    """A function that makes one call."""
    from benchmarks.our_jobs import OurJobs, batches
    from benchmarks.peers.pgqueuer import PgQueuerSubject

    [orders] = batches(_PER_CALL, _PER_CALL)
    if _PRODUCTS[way] == "jobs":
        async with OurJobs().starter(url, connection=way == _BY_CONNECTION) as start:
            yield partial(start, orders)
        return
    async with PgQueuerSubject().bulk(url) as enqueue:
        ready: list[bytes | None] = [order.model_dump_json().encode() for order in orders]

        async def call() -> None:
            await enqueue(ready if way == _OF_BYTES else [order.model_dump_json().encode() for order in orders])

        yield call


async def start_many(parent: Parent, *, way: str, url: str, calls: int) -> None:
    """Measured process: a call as often as it is ordered, to be counted, and then calls to be timed."""
    async with _calling(way, url) as call:
        await call()  # connections, prepared statements
        parent.tell(warm=True)
        while await parent.order() == "call":
            await call()
            parent.tell(called=True)
        begun = perf_counter()
        for _ in range(calls):
            await call()
        seconds = perf_counter() - begun
    parent.tell(rate=calls * _PER_CALL / seconds)


async def _measure(stage: Stage, way: str, *, counting: bool) -> Figures:
    calls = stage.scaled(*_CALLS)
    async with stage.installed(_PRODUCTS[way]) as url:
        counted = await statement_counter(stage.server, url) if counting else None
        async with child(start_many, way=way, url=url, calls=1 if counting else calls) as starter:
            await starter.message()
            statements = await _fewest(starter, counted) if counted else 0
            await starter.order("go on")
            figures = await starter.message()
    return {_STATEMENTS: statements} if counting else {_RATE: figures["rate"]}


async def _fewest(starter: Child, counted: Counter) -> int:
    """Statements of one call: of several, as a process that starts jobs also says that it lives."""
    found: list[int] = []
    for _ in range(_COUNTED):
        before = await counted()
        await starter.order("call")
        await starter.message()
        await asyncio.sleep(_AFTER_SECONDS)
        found.append(await counted() - before)
    return min(found)


async def run(stage: Stage) -> Finding:
    """Counted once, as the log that it takes slows a server; then all ways, interleaved."""
    ways = [way for way, product in _PRODUCTS.items() if product in stage.subjects]
    counts = await interleave(
        1, {way: partial(_measure, stage, way, counting=True) for way in ways}, title="jobs_start_many, statements"
    )
    rounds = await interleave(
        stage.rounds, {way: partial(_measure, stage, way, counting=False) for way in ways}, title="jobs_start_many"
    )
    pairs = [(ours, peer) for ours in (_BY_SESSION, _BY_CONNECTION) for peer in (_OF_MODELS, _OF_BYTES)]
    return Finding(
        title="Jobs: 1 000 starts in one call",
        how=f"{stage.scaled(*_CALLS)} transactions, each one call with 1 000 inputs of 1 kB and COMMIT, one after the "
        "other. Statements of one such transaction, as the server logs them, without BEGIN and COMMIT.",
        rows=[
            *(Row(way, _RATE, "runs/s", rounds.spread(way, _RATE)) for way in ways),
            *(Row(way, _STATEMENTS, "count", counts.spread(way, _STATEMENTS)) for way in ways),
        ],
        ratios=[
            *(
                Ratio(f"{over} / {under}", rounds.ratio((over, _RATE), (under, _RATE)), ("≥", 0.8))
                for over, under in pairs
                if over in ways and under in ways
            ),
            *(
                Ratio(f"statements, {way}", counts.spread(way, _STATEMENTS), ("≤", 2.0))
                for way in ways
                if _PRODUCTS[way] == "jobs"
            ),
        ],
    )
