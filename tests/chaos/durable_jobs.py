"""Runs of five steps while processes are killed and frozen, attempts fail, and somebody else locks runs for longer than
anybody waits: every run completes, each step's effect is there once, and who is called again is told so."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

from pydantic import BaseModel
from sqlalchemy import text

from fastapi_events import HandlerSession, JobContext, Module
from tests.chaos.job_application import ATTEMPTS, FAILED, OFTEN, UNFINISHED, JobApplication, JobProgram
from tests.chaos.processes import Main
from tests.chaos.verdict import Check, Verdict

TRANSACTIONAL = ("reserve", "charge", "book")
PLAIN = "tell"
CHILD = "ship"
STOP_EVERY = 5.0
STUMBLES = 0.05
"""How often an attempt fails between two steps."""
HOLDS = 3.0
"""Seconds for which runs at work are locked by a process that has nothing to do with them, at most."""
HOLD = "SELECT FROM events.run_queue WHERE state = 'x' ORDER BY random() LIMIT 3 FOR UPDATE"

TABLES = """
CREATE TABLE chaos.step_effect (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run integer NOT NULL, run_id uuid NOT NULL, step text NOT NULL,
    process text NOT NULL, redelivered boolean NOT NULL);
CREATE INDEX ON chaos.step_effect (run, step);
CREATE TABLE chaos.step_rewritten (run_id uuid, name text);
CREATE FUNCTION chaos.note_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.step_rewritten VALUES (OLD.run_id, OLD.name);
    RETURN NULL;
END $$;
CREATE TRIGGER note_step AFTER UPDATE ON events.run_step FOR EACH ROW WHEN (OLD.state = 'done')
    EXECUTE FUNCTION chaos.note_step();
"""
EFFECT = """
INSERT INTO chaos.step_effect (run, run_id, step, process, redelivered) VALUES (:run, :run_id, :step, :process, :again)
"""

MISSING = """
SELECT count(*) FROM generate_series(1, %(runs)s) AS r(run) WHERE NOT EXISTS (
    SELECT FROM chaos.step_effect e WHERE e.run = r.run AND e.step = %(step)s)"""
REPEATED = """
SELECT coalesce(sum(n - 1), 0) FROM (
    SELECT count(*) AS n FROM chaos.step_effect WHERE step = %(step)s GROUP BY run) AS e"""
UNTOLD = """
SELECT count(*) FROM (SELECT redelivered, row_number() OVER (PARTITION BY run ORDER BY id) AS turn
                      FROM chaos.step_effect WHERE step = %(step)s) e
WHERE turn > 1 AND NOT redelivered"""
# Only who has the run can record a result: an effect that came by the same transaction is none of a lost attempt's.
UNRECORDED = """
SELECT count(*) FROM chaos.step_effect e WHERE e.step = ANY (%(steps)s) AND NOT EXISTS (
    SELECT FROM events.run_step s
    WHERE s.run_id = e.run_id AND s.name = e.step AND s.state = 'done' AND s.xmin::text = e.xmin::text)"""
UNENDED = """
SELECT count(*) FROM chaos.step_effect e WHERE e.step = %(step)s AND NOT EXISTS (
    SELECT FROM events.run_end r WHERE r.run_id = e.run_id AND r.xmin::text = e.xmin::text)"""
CHILDREN = """
SELECT count(*) FROM (
    SELECT count(*) AS n FROM events.run WHERE parent_id IS NOT NULL GROUP BY parent_id) c WHERE n <> 1"""
ALL_CHILDREN = "SELECT count(*) FROM events.run WHERE parent_id IS NOT NULL"


class Order(BaseModel):
    """The input of a run."""

    number: int


def _module(app: JobApplication) -> Module:
    """A job of five steps, the last of which is another job."""
    module = Module("chaos")

    @module.job("chaos.ship", retry=OFTEN)
    async def ship(job: JobContext[Order], session: HandlerSession) -> int:
        await _effect(app, session, job, CHILD)
        await _a_moment()
        return job.input.number

    @module.job("chaos.fulfil", retry=OFTEN)
    async def fulfil(job: JobContext[Order]) -> int:
        async def write(step: str, session: HandlerSession) -> int:
            await _effect(app, session, job, step)
            await _a_moment()
            return job.input.number

        async def tell() -> int:
            async with app.sessions() as session:
                await _effect(app, session, job, PLAIN)
                await session.commit()
            await _a_moment()
            return job.input.number

        for step in TRANSACTIONAL:
            await job.step(step, write, step)
            _stumble(job)
        await job.step(PLAIN, tell)
        _stumble(job)
        await job.spawn(ship, job.input)
        [shipped] = await job.gather_children()
        if job.input.number % 20 == 0 and job.attempt == 1:
            raise ValueError("chosen to fail")
        return int(shipped)

    return module


def _stumble(job: JobContext[Order]) -> None:
    if job.attempt <= 4 and random.random() < STUMBLES:
        raise ValueError("by chance")


def holder(make: Callable[[], JobApplication]) -> Main:
    """Locks runs that are at work, as an application may whose process is stalled in the middle of a transaction."""

    async def main() -> None:
        app = make()
        while True:
            async with app.sessions() as session:
                await session.execute(text(HOLD))
                await asyncio.sleep(random.uniform(0, HOLDS))
                await session.rollback()
            await asyncio.sleep(random.uniform(0, 0.2))

    return main


async def _a_moment() -> None:
    await asyncio.sleep(random.uniform(0, 0.02))


async def _effect(app: JobApplication, session: HandlerSession, job: JobContext[Order], step: str) -> None:
    values = {"run": job.input.number, "run_id": job.run.id, "step": step, "process": app.label}
    await session.execute(text(EFFECT), {**values, "again": job.redelivered})


class Run(JobProgram):
    """One run of the program; ``perform()`` returns its verdict."""

    def act(self) -> Verdict:
        """Start all runs, let them be worked on under fire, cease fire, drain, judge."""
        self.tables(TABLES)
        options, runs = self.options, self.size(self.options.runs, min(self.options.runs, 100))
        self.run(lambda: self._start(runs))
        crowd = self.crowd(
            "worker", options.workers, lambda label, _: self._application(label),
            kill_every=options.kill_every, stop_every=STOP_EVERY, stop_for=1.5 * options.lease,
        )  # fmt: skip
        holding = self.nursery.fork("holder", lambda label: holder(lambda: self._application(label)))
        crowd.until(lambda: False, options.seconds if self.twin == "none" else 2.0)
        crowd.cease()
        holding.kill()
        left, ceased = self.oracle.number(UNFINISHED), time.monotonic()
        stood_still = self.rest(crowd, lambda: not self.oracle.number(UNFINISHED))
        verdict = Verdict(f"jobs (seed {options.seed})")
        verdict.told({
            "runs": runs, "kill -9 of workers": crowd.kills, "SIGSTOPs past the lease": crowd.stops,
            "runs and children not ended when the fire ceased": left, "attempts recorded": self.oracle.number(ATTEMPTS),
            f"{PLAIN} (plain): in doubt, done again": self.oracle.number(REPEATED, step=PLAIN),
            "seconds until all had ended": time.monotonic() - ceased,
        })  # fmt: skip
        self._judge(verdict, runs)
        verdict.checks.append(Check("seconds in which none got on, after that", stood_still, 3 * options.lease))
        verdict.none_of({"workers that ended by themselves": crowd.failures})
        return verdict

    def _application(self, label: str) -> JobApplication:
        return JobApplication(self.url, self.options, label, _module)

    async def _start(self, runs: int) -> None:
        app = self._application("starter")
        await app.events.start(drains=False)
        given = [Order(number=number) for number in range(1, runs + 1)]
        await app.events.jobs.start_many(app.job("chaos.fulfil"), given)
        await app.events.stop()

    def _judge(self, verdict: Verdict, runs: int) -> None:
        ask = self.oracle.number
        verdict.none_of({"runs that have not ended": ask(UNFINISHED), "runs without success": ask(FAILED)})
        for step in (*TRANSACTIONAL, CHILD):
            verdict.none_of({
                f"{step}: runs without effect": ask(MISSING, step=step, runs=runs),
                f"{step}: effects repeated": ask(REPEATED, step=step),
            })  # fmt: skip
        verdict.none_of({
            "effects that came without the record of their step": ask(UNRECORDED, steps=list(TRANSACTIONAL)),
            f"{CHILD}: effects that came without the end of their run": ask(UNENDED, step=CHILD),
            f"{PLAIN} (plain): runs without effect": ask(MISSING, step=PLAIN, runs=runs),
            f"{PLAIN} (plain): done again without being told": ask(UNTOLD, step=PLAIN),
            "steps written twice": ask("SELECT count(*) FROM chaos.step_rewritten"),
            "runs with another number of children than one": ask(CHILDREN),
            "children in all, but one for each run": abs(ask(ALL_CHILDREN) - runs),
        })  # fmt: skip
