"""Latency from a commit in one process to the start of the handler in another, at 50 events a second.

The publisher commits one event per transaction on an even schedule; the handler notes when it starts. The headline
counts from the moment COMMIT has returned to the publisher; beside it, from the moment COMMIT was sent. (A product that
notifies inside the transaction can wake its worker while COMMIT is still on its way back; what is inserted or sent
only at commit is inside the second figure.) The first two seconds are not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic, monotonic_ns

from benchmarks.child import Parent
from benchmarks.processes import child
from benchmarks.recording import Recording, first_of_each, load, milliseconds, quantile
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, Rounds, interleave
from benchmarks.stage import Stage
from benchmarks.subjects import OF_EVENTS, OURS, Publish, subject

_PER_SECOND = 50
_WARM_UP_SECONDS = 2
_SECONDS = (10, 3)
_DRAINING_SECONDS = 1.0


async def consume(parent: Parent, *, name: str, url: str, path: str) -> None:
    """Measured process: a worker whose handler notes its start, until told to stop."""
    product = subject(name)
    recording = Recording()

    def started(payload: object) -> None:
        instant = monotonic_ns()
        recording.note(product.number_of(payload), instant)

    async with product.worker(url, started, "latency"):
        parent.tell(ready=True)
        await parent.order()
    recording.save(path)
    parent.tell(saved=True)


async def produce(parent: Parent, *, name: str, url: str, path: str, count: int, per_second: float) -> None:
    """Measured process: publish the orders 1 to ``count`` at an even pace."""
    sent, returned = Recording(), Recording()
    async with subject(name).publisher(url) as publish:
        await publish_evenly(publish, range(1, count + 1), per_second, sent, returned)
    sent.save(f"{path}.sent")
    returned.save(f"{path}.returned")
    parent.tell(saved=True)


async def publish_evenly(
    publish: Publish, numbers: Sequence[int], per_second: float, sent: Recording, returned: Recording
) -> None:
    """Publish on a schedule fixed beforehand, so that a slow commit delays no later one more than it must."""
    begun = monotonic()
    for index, number in enumerate(numbers):
        await asyncio.sleep(max(begun + index / per_second - monotonic(), 0))
        committed = await publish(number)
        sent.note(number, committed.sent)
        returned.note(number, committed.returned)


async def _measure(stage: Stage, name: str, draining: float) -> Figures:
    async with stage.installed(name) as url:
        return await between_processes(stage, name, url, draining)


async def between_processes(stage: Stage, name: str, url: str, draining: float = _DRAINING_SECONDS) -> Figures:
    """One round, in a database that is there."""
    count = _PER_SECOND * (_WARM_UP_SECONDS + stage.scaled(*_SECONDS))
    handled, published = stage.folder / "handled", stage.folder / "published"
    async with child(consume, name=name, url=url, path=str(handled)) as worker:
        await worker.message()
        options = {"name": name, "url": url, "path": str(published), "count": count, "per_second": _PER_SECOND}
        async with child(produce, **options) as publisher:
            await publisher.message()
        # Not a race: an event that takes longer than this is missed below, loudly.
        await asyncio.sleep(draining)
        await worker.stop()
    return figures(handled, published, skipped=_PER_SECOND * _WARM_UP_SECONDS)


def figures(handled: Path, published: Path, *, skipped: int) -> Figures:
    """Percentiles of what the two processes saved, without the first ``skipped`` events."""
    starts = first_of_each(load(handled))
    from_returned, from_sent = (
        milliseconds(first_of_each(load(Path(f"{published}.{moment}"))), starts, lambda number: number > skipped)
        for moment in ("returned", "sent")
    )
    return {
        "p50": quantile(from_returned, 0.5),
        "p99": quantile(from_returned, 0.99),
        "p50 from sent": quantile(from_sent, 0.5),
        "p99 from sent": quantile(from_sent, 0.99),
    }


def _ratios(rounds: Rounds, ours: str, peers: Sequence[str], of_p99: float | None) -> list[Ratio]:
    p50 = [Ratio(f"p50: {ours} / {peer}", rounds.ratio((ours, "p50"), (peer, "p50")), ("<", 1.0)) for peer in peers]
    if not peers:
        return p50
    better = min(peers, key=lambda peer: rounds.spread(peer, "p99").median)
    p99 = rounds.ratio((ours, "p99"), (better, "p99"))
    return [*p50, Ratio(f"p99: {ours} / {better}, the better peer", p99, ("≤", of_p99) if of_p99 else None)]


async def compared(
    stage: Stage, ours: str, names: Sequence[str], *, title: str, of_p99: float | None = None,
    draining: float = _DRAINING_SECONDS,
) -> Finding:  # fmt: skip
    """Ours and the peers, interleaved; ``draining`` seconds after the last commit everything must have begun."""
    measures = {name: partial(_measure, stage, name, draining) for name in names}
    rounds = await interleave(stage.rounds, measures, title=title)
    figures = ("p50", "p99", "p50 from sent", "p99 from sent")
    return Finding(
        title=f"Latency: commit in one process, {title} start in another, 50/s",
        how=f"{stage.scaled(*_SECONDS)} s per round, one {title} per transaction; from the moment COMMIT had returned "
        "to the publisher (and, beside it, from the moment it was sent) to the first line of the code that it is for.",
        rows=[Row(label, name, "ms", rounds.spread(label, name)) for label in measures for name in figures],
        ratios=_ratios(rounds, ours, [name for name in measures if name != ours], of_p99) if ours in measures else [],
    )


async def run(stage: Stage) -> Finding:
    """Of events."""
    return await compared(stage, OURS, stage.taking_part(OF_EVENTS), title="handler", of_p99=1.2)
