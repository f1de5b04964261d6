"""Idle cost: statements per second that a worker with nothing to do sends, as the server counts them.

Counted over 60 s after a warm-up of 5 s, everything included except BEGIN and COMMIT.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from benchmarks.child import Parent
from benchmarks.processes import child
from benchmarks.report import Finding, Ratio, Row
from benchmarks.rounds import Figures, Rounds, interleave
from benchmarks.stage import Stage
from benchmarks.statements import statement_counter
from benchmarks.subjects import OF_EVENTS, OURS, subject

_WARM_UP_SECONDS = 5.0
_SECONDS = (60, 20)
RATE = "rate"


async def wait_idly(parent: Parent, *, name: str, url: str) -> None:
    """Measured process: a worker with nothing to do."""
    async with subject(name).worker(url, lambda _: None, "idle"):
        parent.tell(ready=True)
        await parent.order()
    parent.tell(stopped=True)


async def _measure(stage: Stage, name: str) -> Figures:
    seconds = stage.scaled(*_SECONDS)
    async with stage.installed(name) as url:
        counted = await statement_counter(stage.server, url)
        async with child(wait_idly, name=name, url=url) as worker:
            await worker.message()
            await asyncio.sleep(_WARM_UP_SECONDS)
            before = await counted()
            await asyncio.sleep(seconds)
            statements = await counted() - before
            await worker.stop()
    return {RATE: statements / seconds}


async def measured(stage: Stage, names: Sequence[str], title: str) -> Rounds:
    """One worker at a time. A count has no noise worth nine rounds of a minute: three are taken at most."""
    return await interleave(min(stage.rounds, 3), {name: partial(_measure, stage, name) for name in names}, title=title)


def finding(stage: Stage, rounds: Rounds, ratios: Sequence[Ratio], of: str = "") -> Finding:
    """What was counted."""
    return Finding(
        title=f"Idle: statements per second of one worker{of}",
        how=f"Statements counted by the server over {stage.scaled(*_SECONDS)} s, all except BEGIN and COMMIT.",
        rows=[Row(label, "statements", "1/s", rounds.spread(label, RATE)) for label in rounds.measured],
        ratios=ratios,
    )


async def run(stage: Stage) -> Finding:
    """Ours and the peers, one after the other."""
    names = stage.taking_part(OF_EVENTS)
    rounds = await measured(stage, names, "idle")
    wanted = [Ratio(f"{OURS}, statements/s", rounds.spread(OURS, RATE), ("<", 2.0))] if OURS in names else []
    return finding(stage, rounds, wanted)
