"""Sixteen concurrent committers: what the wake-up after each commit costs the rate of commits.

One process holds sixteen tasks, each committing one transaction after the other: one INSERT and one event. The drain
runs in another process throughout. Compared are the default, a coalesced notification after commit, and
``notify="off"``, where the drain finds events by polling; beside them, for information, the same transactions without
any event.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from time import monotonic

from benchmarks.child import Parent
from benchmarks.points.latency import consume
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS

_COMMITTERS = 16
_WARM_UP_SECONDS = 1.0
_SECONDS = (6, 2)
_RATE = "rate"
_AFTER_COMMIT, _OFF, _WITHOUT = 'notify="after_commit"', 'notify="off"', "no events"


async def commit_steadily(parent: Parent, *, url: str, notify: str, seconds: float) -> None:
    """Measured process: sixteen committers."""
    from benchmarks import ours

    numbers = count(1)
    committed, stopping = 0, False
    mode: ours.Notify = "off" if notify == _OFF else "after_commit"

    async def commit_on(application: ours.Application) -> None:
        nonlocal committed
        while not stopping:
            number = next(numbers)
            await application.commit_order(number, () if notify == _WITHOUT else (number,))
            committed += 1

    async with ours.running(url, notify=mode) as application, asyncio.TaskGroup() as committers:
        for _ in range(_COMMITTERS):
            committers.create_task(commit_on(application))
        await asyncio.sleep(_WARM_UP_SECONDS)
        before, begun = committed, monotonic()
        await asyncio.sleep(seconds)
        rate = (committed - before) / (monotonic() - begun)
        stopping = True
    parent.tell(rate=rate)


async def _measure(stage: Stage, notify: str) -> Figures:
    async with stage.installed(OURS) as url:
        await settle(url)
        handled = str(stage.folder / "handled")
        async with child(consume, name=OURS, url=url, path=handled) as worker:
            await worker.message()
            async with child(commit_steadily, url=url, notify=notify, seconds=stage.scaled(*_SECONDS)) as committers:
                figures = await committers.message()
            await worker.stop()
    return figures


async def run(stage: Stage) -> Finding:
    """The three ways, interleaved."""
    measures = {notify: partial(_measure, stage, notify) for notify in (_AFTER_COMMIT, _OFF, _WITHOUT)}
    rounds = await interleave(stage.rounds, measures, title="committers")
    return Finding(
        title="Publish: 16 concurrent committers",
        how=f"Commits per second over {stage.scaled(*_SECONDS)} s, one INSERT and one event of 1 kB each, the drain in "
        "another process; with the notification after commit (the default), without any, and without events.",
        rows=[Row(label, "committed", "transactions/s", rounds.spread(label, _RATE)) for label in measures],
        ratios=[
            Ratio(f"{_AFTER_COMMIT} / {_OFF}", rounds.ratio((_AFTER_COMMIT, _RATE), (_OFF, _RATE)), ("≥", 0.8)),
            Ratio(f"{_AFTER_COMMIT} / {_WITHOUT}", rounds.ratio((_AFTER_COMMIT, _RATE), (_WITHOUT, _RATE))),
        ],
    )
