"""What publishing costs the user's transaction.

One process, one transaction after the other, each a new session that inserts one row through the ORM and commits: the
same code with no event, one and ten. Then the same transaction behind three FastAPI endpoints called by ASGI inside
the process: without events, with one published through the instance on the request's session, and with one through
the injected publisher. All variants take turns in short blocks; a figure is the median time of a transaction or
request in the round. Nobody drains meanwhile, and notifications are at their default, after commit.
"""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from time import perf_counter

from benchmarks.child import Parent
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, interleave
from benchmarks.server import settle
from benchmarks.stage import Stage
from benchmarks.subjects import OURS

_BLOCKS = (20, 4)
_PER_BLOCK = 25
_NONE, _ONE, _TEN = "no event", "1 event", "10 events"
_PLAIN, _BY_SESSION, _BY_DEPENDENCY = "endpoint, no event", "endpoint, 1 by session", "endpoint, 1 by dependency"
_COMPARED: tuple[tuple[str, str, float | None], ...] = (
    (_ONE, _NONE, 1.35),
    (_TEN, _NONE, 1.6),
    (_BY_DEPENDENCY, _BY_SESSION, 1.05),
    (_BY_DEPENDENCY, _PLAIN, None),
)

Transaction = Callable[[], Awaitable[object]]


async def publish_in_turns(parent: Parent, *, url: str, blocks: int) -> None:
    """Measured process: every variant, block by block."""
    from benchmarks import ours, web

    async with ours.running(url) as application:
        numbers = count(1)

        async def transaction(events: int) -> None:
            number = next(numbers)
            await application.commit_order(number, range(number * 10, number * 10 + events))

        app = web.shop(application)
        variants: dict[str, Transaction] = {
            _NONE: partial(transaction, 0),
            _ONE: partial(transaction, 1),
            _TEN: partial(transaction, 10),
            _PLAIN: partial(web.post, app, "/plain"),
            _BY_SESSION: partial(web.post, app, "/session"),
            _BY_DEPENDENCY: partial(web.post, app, "/dependency"),
        }
        await _in_turns(variants, 1)
        times = await _in_turns(variants, blocks)
    parent.tell(**{name: statistics.median(seconds) * 1000 for name, seconds in times.items()})


async def _in_turns(variants: dict[str, Transaction], blocks: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(blocks):
        for name, variant in variants.items():
            for _ in range(_PER_BLOCK):
                begun = perf_counter()
                await variant()
                times[name].append(perf_counter() - begun)
    return times


async def _measure(stage: Stage) -> Figures:
    async with stage.installed(OURS) as url:
        await settle(url)
        async with child(publish_in_turns, url=url, blocks=stage.scaled(*_BLOCKS)) as publisher:
            return await publisher.message()


async def run(stage: Stage) -> Finding:
    """Ours alone: the comparison is with the same code that publishes nothing."""
    rounds = await interleave(stage.rounds, {OURS: partial(_measure, stage)}, title="publish")
    figures = (_NONE, _ONE, _TEN, _PLAIN, _BY_SESSION, _BY_DEPENDENCY)
    return Finding(
        title="Publish: what events add to a session's transaction",
        how="One INSERT and COMMIT with 0, 1 and 10 events of 1 kB, "
        f"{stage.scaled(*_BLOCKS) * _PER_BLOCK} of each kind per round in alternating blocks; median time of one.",
        rows=[Row(OURS, name, "ms", rounds.spread(OURS, name)) for name in figures],
        ratios=[
            Ratio(f"{over} / {under}", rounds.ratio((OURS, over), (OURS, under)), ("≤", bound) if bound else None)
            for over, under, bound in _COMPARED
        ],
    )
