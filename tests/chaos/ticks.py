"""A schedule of one second, in processes that are killed, one of which has a clock that jumps: every tick once."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy import text

from fastapi_events import HandlerSession, JobContext, Module
from tests.chaos.job_application import FAILED, OFTEN, PATIENCE, UNFINISHED, JobApplication, JobProgram
from tests.chaos.verdict import Check, Verdict

PROCESSES = 4
KILL_EVERY = 1.5
STEPS = (3600.0, -3600.0, 45.0, -7.5, 0.9, -0.9)
"""Seconds by which the clock of the first process is off, one after the other."""
STEP_EVERY = 2.0

TABLES = """
CREATE TABLE chaos.ticked (at timestamptz NOT NULL, process text NOT NULL);
CREATE TABLE chaos.stepped (seconds float8 NOT NULL);
"""
# The last net, which the twin goes without too.
WITHOUT_NET = "DROP INDEX events.run_tick"

RUNS = "SELECT count(DISTINCT scheduled_for) FROM events.run"
SPAN = "SELECT extract(epoch FROM max(scheduled_for) - min(scheduled_for)) + 1 FROM events.run"
UNEVEN = """
SELECT count(*) FROM (SELECT scheduled_for - lag(scheduled_for) OVER (ORDER BY scheduled_for) AS gap
                      FROM (SELECT DISTINCT scheduled_for FROM events.run) t) g WHERE gap <> '1 second'"""
TWICE = "SELECT count(*) - count(DISTINCT scheduled_for) FROM events.run"
EARLY = "SELECT count(*) FROM events.run WHERE created_at < scheduled_for"
LATE = "SELECT {} FROM (SELECT extract(epoch FROM created_at - scheduled_for) AS late FROM events.run) r"
MEDIAN = LATE.format("percentile_cont(0.5) WITHIN GROUP (ORDER BY late)")
WORST = LATE.format("max(late)")
EFFECTS_MISSING = """
SELECT count(*) FROM events.run r WHERE NOT EXISTS (SELECT FROM chaos.ticked t WHERE t.at = r.scheduled_for)"""
EFFECTS_TWICE = "SELECT count(*) - count(DISTINCT at) FROM chaos.ticked"
BY_STEPPED = "SELECT count(*) FROM chaos.ticked WHERE process LIKE 'worker0-%%'"


class Run(JobProgram):
    """One run of the program; ``perform()`` returns its verdict."""

    def act(self) -> Verdict:
        """Let it tick under fire, pause it, drain, judge."""
        self.tables(TABLES + (WITHOUT_NET if self.twin == "ticks" else ""))
        ticks = self.size(300, 12)
        crowd = self.crowd("worker", PROCESSES, self._application, kill_every=KILL_EVERY)
        crowd.until(lambda: self.oracle.number(RUNS) >= ticks, 3 * ticks + PATIENCE)
        crowd.cease()
        self.oracle.rows("UPDATE events.schedule SET paused_at = clock_timestamp()")
        self.rest(crowd, lambda: not self.oracle.number(UNFINISHED))
        ask, verdict = self.oracle.number, Verdict(f"ticks (seed {self.options.seed})")
        [[median, worst, span]] = self.oracle.rows(f"SELECT ({MEDIAN}), ({WORST}), ({SPAN})")
        verdict.told({
            "processes": PROCESSES, "kill -9 of workers": crowd.kills, "seconds from the first tick to the last": span,
            "steps of a clock": ask("SELECT count(*) FROM chaos.stepped"),
            "ticks run by the process of that clock": ask(BY_STEPPED),
            "median seconds from a tick to its run": median, "most seconds from a tick to its run": worst,
        })  # fmt: skip
        verdict.checks.append(Check("ticks", ask(RUNS), at_least=ticks))
        verdict.none_of({
            "ticks left out": int(span) - ask(RUNS), "ticks at odd distances": ask(UNEVEN),
            "ticks with two runs": ask(TWICE), "runs before their tick": ask(EARLY),
            "runs that have not ended": ask(UNFINISHED), "runs without success": ask(FAILED),
            "ticks without effect": ask(EFFECTS_MISSING), "effects repeated": ask(EFFECTS_TWICE),
            "workers that ended by themselves": crowd.failures,
        })  # fmt: skip
        return verdict

    def _application(self, label: str, place: int) -> JobApplication:
        return JobApplication(self.url, self.options, label, lambda app: _module(app, steps=place == 0))


def _module(app: JobApplication, *, steps: bool) -> Module:
    module = Module("chaos")
    if steps:
        app.beside.append(asyncio.get_running_loop().create_task(_step_the_clock(app)))

    @module.every(timedelta(seconds=1), missed="all")
    @module.job("chaos.tick", retry=OFTEN)
    async def tick(job: JobContext[None], session: HandlerSession) -> None:
        await session.execute(
            text("INSERT INTO chaos.ticked VALUES (:at, :process)"), {"at": job.run.scheduled_for, "process": app.label}
        )

    return module


async def _step_the_clock(app: JobApplication) -> None:
    offsets = _JumpingClock.install()
    for offset in itertools.cycle(STEPS):
        offsets[0] = offset
        await app.write("INSERT INTO chaos.stepped VALUES (:seconds)", seconds=offset)
        await asyncio.sleep(STEP_EVERY)


class _AnyMoment(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, dt.datetime)


class _JumpingClock(dt.datetime, metaclass=_AnyMoment):
    """``datetime`` in the modules of the product, with a clock that is off; timers go on, as on real machines."""

    offsets = [0.0]  # noqa: RUF012

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return dt.datetime.now(tz) + timedelta(seconds=cls.offsets[0])

    @classmethod
    def install(cls) -> list[float]:
        real, real_ns = time.time, time.time_ns
        time.time = lambda: real() + cls.offsets[0]
        time.time_ns = lambda: real_ns() + int(cls.offsets[0] * 1e9)
        for module in _modules():
            module.datetime = cls
        return cls.offsets


def _modules() -> Iterator[Any]:
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("fastapi_events", "cronsim") and getattr(module, "datetime", None) is dt.datetime:
            yield module
