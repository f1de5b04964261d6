"""Draining a backlog with a no-op handler in one process.

A fresh database per subject and round gets the subject's schema and the backlog, then VACUUM (ANALYZE) and
CHECKPOINT. A worker process is started. The rate is taken from the moment 4 % of the backlog have been handed to the
handler (connecting and the first fetch are behind) to the start of the last one. After the worker has stopped nothing
may be left unfinished. Ours hands over validated models; the peers hand over what they store, undecoded (PgQueuer) or
decoded (Procrastinate).

The raw limit is the same number of rows of the same payload read by plain asyncpg in batches of 2 000 from a plain
table, decoded and validated, with no bookkeeping at all: no claim, no order, no record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import perf_counter
from typing import Any

import asyncpg

from benchmarks.child import Parent
from benchmarks.payload import Order, order_json
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OF_EVENTS, OURS, subject

RATE = "rate"
RAW = "raw limit"
_RAW_BATCH = 2000
# Procrastinate handles a few hundred a second; its rate shows on a shorter backlog.
_SMALL_BACKLOG = {"procrastinate": (2_000, 500)}
_BACKLOG = (50_000, 10_000)
_DEADLINE = 300.0
_WANTED = {"pgqueuer": 3.0, "procrastinate": 60.0}


class Meter:
    """Counts handler starts and notes when the warm-up ended and when the last one came."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._warm_up = expected // 25
        self._count = 0
        self._begun = self._ended = 0.0
        self._loop = asyncio.get_running_loop()
        self.finished = asyncio.Event()

    def __call__(self, payload: object) -> None:
        self._count += 1
        if self._count == self._warm_up:
            self._begun = perf_counter()
        elif self._count == self._expected:
            self._ended = perf_counter()
            self._loop.call_soon_threadsafe(self.finished.set)

    @property
    def warm(self) -> bool:
        """Whether the warm-up is over."""
        return self._count > self._warm_up

    @property
    def rate(self) -> float:
        """Handler starts per second after the warm-up."""
        return self.rate_until(self._ended)

    def rate_until(self, moment: float) -> float:
        """The same, had the last one come at that moment."""
        return (self._expected - self._warm_up) / (moment - self._begun)


async def drain(parent: Parent, *, name: str, url: str, expected: int) -> None:
    """Measured process: work the backlog off."""
    meter = Meter(expected)
    async with asyncio.timeout(_DEADLINE), subject(name).worker(url, meter, "drain"):
        await meter.finished.wait()
    parent.tell(rate=meter.rate)


async def raw(parent: Parent, *, url: str, expected: int) -> None:
    """Measured process: fetch, decode and validate, nothing else."""
    meter = Meter(expected)
    connection = await asyncpg.connect(url)
    position = 0
    while not meter.finished.is_set():
        rows = await connection.fetch(
            "SELECT position, payload FROM raw WHERE position > $1 ORDER BY position LIMIT $2", position, _RAW_BATCH
        )
        for row in rows:
            meter(Order.model_validate_json(row["payload"]))
        position = rows[-1]["position"]
    await connection.close()
    parent.tell(rate=meter.rate)


async def load_raw(url: str, count: int) -> None:
    """Make and fill the plain table ``raw``."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE raw (position bigint PRIMARY KEY, payload jsonb NOT NULL)")
    rows = [(number, order_json(number).decode()) for number in range(1, count + 1)]
    await connection.copy_records_to_table("raw", records=rows)
    await connection.close()


async def _drain_once(stage: Stage, name: str) -> Figures:
    expected = stage.scaled(*_SMALL_BACKLOG.get(name, _BACKLOG))
    async with stage.installed(name) as url:
        await subject(name).load(url, expected)
        await settle(url)
        async with child(drain, name=name, url=url, expected=expected) as worker:
            figures = await worker.message()
        unfinished = await subject(name).unfinished(url)
    if unfinished:
        raise RuntimeError(f"{name} left {unfinished} of {expected} unfinished after its worker had stopped.")
    return figures


async def _raw_once(stage: Stage) -> Figures:
    expected = stage.scaled(*_BACKLOG)
    async with stage.server.fresh_database("raw") as url:
        await load_raw(url, expected)
        await settle(url)
        async with child(raw, url=url, expected=expected) as reader:
            return await reader.message()


async def run(stage: Stage) -> Finding:
    """Ours, the peers and the raw limit, interleaved."""
    names = stage.taking_part(OF_EVENTS)
    measures: dict[str, Callable[[], Awaitable[Figures]]] = {name: partial(_drain_once, stage, name) for name in names}
    measures[RAW] = partial(_raw_once, stage)
    rounds = await interleave(stage.rounds, measures, title="drain")
    ratios = []
    if OURS in names:
        for peer in names[1:]:
            spread = rounds.ratio((OURS, RATE), (peer, RATE))
            ratios.append(Ratio(f"{OURS} / {peer}", spread, ("≥", _WANTED[peer])))
        ratios.append(Ratio(f"{OURS} / {RAW}", rounds.ratio((OURS, RATE), (RAW, RATE))))
    backlog = stage.scaled(*_BACKLOG)
    small = stage.scaled(*_SMALL_BACKLOG["procrastinate"])
    return Finding(
        title="Drain: no-op handler, one process",
        how=f"A backlog of {backlog} payloads of 1 kB (Procrastinate: {small}), worked off by one process; rate from "
        "the first 4 % to the last handler start. The raw limit fetches, decodes and validates the same rows with no "
        "bookkeeping.",
        rows=[Row(label, "handled", "events/s", rounds.spread(label, RATE)) for label in measures],
        ratios=ratios,
    )
