"""A snapshot held open in another session for a minute under load.

First the capacity is measured: a feeder publishes a hundred events per transaction as fast as the worker, in another
process, takes them (never more than 5 000 ahead). Then, in a fresh database, a REPEATABLE READ transaction is opened in
a third session, and for 60 s events are fed at 80 % of that capacity; the handler raises at the first attempt of every
fiftieth. Compared are the first and the last ten seconds: events handled successfully per second, and the p99 of the
latency from COMMIT returned to the first start of the handler. Everything must have been handled in the end.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.child import Parent
from benchmarks.processes import child
from benchmarks.recording import NANOSECONDS, Recording, first_of_each, load, milliseconds, quantile
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS

if TYPE_CHECKING:
    from benchmarks.ours import OrderPlaced

_SECONDS = (60, 12)
_WINDOW_SECONDS = (10, 3)
_CAPACITY_SECONDS = (8, 3)
_SHARE = 0.8
_CHUNK = 100
_AHEAD = 5_000
_FAILING = 50
_DRAINING_SECONDS = 30.0
_UNITS = {
    "capacity": "events/s",
    "first rate": "events/s",
    "last rate": "events/s",
    "first p99": "ms",
    "last p99": "ms",
}


class Gauge:
    """A number that one process writes and another reads, in a file both map."""

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    @staticmethod
    def create(path: Path) -> None:
        """Make the file, at zero."""
        path.write_bytes(bytes(8))

    @property
    def value(self) -> int:
        """The number last written."""
        return int(struct.unpack_from("q", self._map)[0])

    @value.setter
    def value(self, number: int) -> None:
        struct.pack_into("q", self._map, 0, number)


class FirstAttemptError(Exception):
    """Raised by the handler at the first attempt of every fiftieth event."""


async def work(parent: Parent, *, url: str, path: str, gauge: str) -> None:
    """Measured process: the worker, until told to stop."""
    from benchmarks import ours

    starts, successes, progress = Recording(), Recording(), Gauge(gauge)
    succeeded = 0

    def started(event: OrderPlaced, attempt: int) -> None:
        nonlocal succeeded
        instant = monotonic_ns()
        starts.note(event.number, instant)
        if attempt == 1 and event.number % _FAILING == 0:
            raise FirstAttemptError
        successes.note(event.number, instant)
        succeeded += 1
        progress.value = succeeded

    async with ours.running(url, ours.failing_once(started)):
        parent.tell(ready=True)
        await parent.order()
    starts.save(f"{path}.starts")
    successes.save(f"{path}.successes")
    parent.tell(saved=True)


async def feed(parent: Parent, *, url: str, path: str, gauge: str, seconds: float, per_second: float | None) -> None:
    """Measured process: the feeder, at a pace, or as fast as the worker follows."""
    from benchmarks import ours

    returned, progress = Recording(), Gauge(gauge)
    published = 0
    async with ours.running(url) as application:
        begun = monotonic()
        while (elapsed := monotonic() - begun) < seconds:
            due = published / per_second - elapsed if per_second else 0.0
            ahead = per_second is None and published - progress.value > _AHEAD
            if ahead or due > 0:
                await asyncio.sleep(0.002 if ahead else due)
                continue
            numbers = range(published + 1, published + _CHUNK + 1)
            committed = await application.commit_events(numbers)
            for number in numbers:
                returned.note(number, committed.returned)
            published += _CHUNK
    returned.save(f"{path}.returned")
    parent.tell(published=published, begun=int(begun * NANOSECONDS))


@asynccontextmanager
async def _snapshot(stage: Stage, url: str) -> AsyncIterator[None]:
    async with (
        stage.server.session(urlsplit(url).path.lstrip("/")) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.fetchval("SELECT count(*) FROM pg_class")
        yield


async def _run(stage: Stage, *, seconds: float, per_second: float | None) -> tuple[int, Path]:
    path, gauge = stage.folder / "held", stage.folder / "gauge"
    Gauge.create(gauge)
    shared = {"path": str(path), "gauge": str(gauge)}
    async with stage.installed(OURS) as url:
        await settle(url)
        async with child(work, url=url, **shared) as worker:
            await worker.message()
            pace = {"seconds": seconds, "per_second": per_second}
            async with _snapshot(stage, url), child(feed, url=url, **pace, **shared) as feeder:
                fed = await feeder.message()
                await _handled(Gauge(str(gauge)), fed["published"])
            await worker.stop()
    return fed["begun"], path


async def _handled(progress: Gauge, expected: int) -> None:
    async with asyncio.timeout(_DRAINING_SECONDS):
        while progress.value < expected:
            await asyncio.sleep(0.05)


async def _measure(stage: Stage) -> Figures:
    seconds, window = stage.scaled(*_SECONDS), stage.scaled(*_WINDOW_SECONDS)
    capacity = await _capacity(stage)
    begun, path = await _run(stage, seconds=seconds, per_second=_SHARE * capacity)
    published = first_of_each(load(Path(f"{path}.returned")))
    starts = first_of_each(load(Path(f"{path}.starts")))
    successes = [instant for _, instant in load(Path(f"{path}.successes"))]
    figures: dict[str, float] = {"capacity": capacity}
    for name, first_second in (("first", 0), ("last", seconds - window)):
        lower, upper = (begun + second * NANOSECONDS for second in (first_second, first_second + window))
        figures[f"{name} rate"] = sum(lower <= instant < upper for instant in successes) / window
        during = {number: instant for number, instant in published.items() if lower <= instant < upper}
        figures[f"{name} p99"] = quantile(milliseconds(during, starts), 0.99)
    return figures


async def _capacity(stage: Stage) -> float:
    seconds = stage.scaled(*_CAPACITY_SECONDS)
    begun, path = await _run(stage, seconds=seconds, per_second=None)
    # The first second belongs to caches and connections.
    lower, upper = begun + NANOSECONDS, begun + seconds * NANOSECONDS
    handled = sum(lower <= instant < upper for _, instant in load(Path(f"{path}.successes")))
    return handled / (seconds - 1)


async def run(stage: Stage) -> Finding:
    """Ours alone: the comparison is between the beginning and the end of the same minute."""
    rounds = await interleave(stage.rounds, {OURS: partial(_measure, stage)}, title="held snapshot")
    return Finding(
        title="A snapshot held open in another session",
        how=f"{stage.scaled(*_SECONDS)} s fed at 80 % of capacity, every fiftieth event failing once; the first "
        f"{stage.scaled(*_WINDOW_SECONDS)} s beside the last.",
        rows=[Row(OURS, name, unit, rounds.spread(OURS, name)) for name, unit in _UNITS.items()],
        ratios=[
            Ratio("rate: last / first", rounds.ratio((OURS, "last rate"), (OURS, "first rate")), ("≥", 0.8)),
            Ratio("p99: last / first", rounds.ratio((OURS, "last p99"), (OURS, "first p99")), ("≤", 2.0)),
        ],
    )
