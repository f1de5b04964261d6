"""Runs of few keys in many processes, one at a time of each key: the database is asked whether two ever met."""

from __future__ import annotations

import asyncio
import random
import time

from pydantic import BaseModel
from sqlalchemy import text

from fastapi_events import Concurrency, HandlerSession, JobContext, Module
from tests.chaos.job_application import FAILED, OFTEN, UNFINISHED, JobApplication, JobProgram
from tests.chaos.processes import Process
from tests.chaos.verdict import Verdict

PROCESSES = 8
KEYS = 10
KILL_EVERY = 1.0

# Rows are written by transactions of their own, so that they stay whatever becomes of the attempt. The key's bounds are
# two equal numbers: a range, for which the exclusion constraint needs no extension.
TABLES = """
CREATE TABLE chaos.at_work (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key integer NOT NULL, run integer NOT NULL,
    process text NOT NULL,
    began timestamptz NOT NULL DEFAULT clock_timestamp(), ended timestamptz);
CREATE TABLE chaos.killed (process text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE chaos.done (run integer NOT NULL);
"""
PROOF = """
ALTER TABLE chaos.at_work ADD CONSTRAINT one_at_a_time
    EXCLUDE USING gist (int4range(key, key, '[]') WITH &&, tstzrange(began, ended) WITH &&)"""
MET = """
SELECT count(*) FROM chaos.at_work a JOIN chaos.at_work b ON b.key = a.key AND b.id > a.id
WHERE tstzrange(a.began, a.ended) && tstzrange(b.began, b.ended)"""
LEFT_OPEN = "SELECT count(*) FROM chaos.at_work WHERE ended IS NULL"
KILLED = "INSERT INTO chaos.killed VALUES (%(process)s)"
# Who was killed was at work until then at the latest.
CLOSE = """
UPDATE chaos.at_work a SET ended = greatest(a.began, k.at) FROM chaos.killed k
WHERE k.process = a.process AND a.ended IS NULL"""
MISSING = """
SELECT count(*) FROM generate_series(1, %(runs)s) AS r(run) WHERE NOT EXISTS (
    SELECT FROM chaos.done d WHERE d.run = r.run)"""
TWICE = "SELECT count(*) - count(DISTINCT run) FROM chaos.done"
MOST = """
SELECT max(n) FROM (SELECT count(*) AS n FROM chaos.at_work a JOIN chaos.at_work b
    ON tstzrange(b.began, b.ended) @> a.began GROUP BY a.id) m"""


class Keyed(BaseModel):
    """The input of a run."""

    number: int
    key: int


def _module(app: JobApplication) -> Module:
    module = Module("chaos")

    @module.job("chaos.alone", retry=OFTEN, concurrency=Concurrency(key=lambda given: str(given.key)))
    async def alone(job: JobContext[Keyed], session: HandlerSession) -> None:
        given = job.input
        values = {"key": given.key, "run": given.number, "process": app.label}
        async with app.sessions() as own:
            query = text("INSERT INTO chaos.at_work (key, run, process) VALUES (:key, :run, :process) RETURNING id")
            place = (await own.execute(query, values)).scalar_one()
            await own.commit()
        try:
            await asyncio.sleep(random.uniform(0.002, 0.02))
            await session.execute(text("INSERT INTO chaos.done VALUES (:run)"), values)
            if given.number % 20 == 0 and job.attempt == 1:
                raise ValueError("chosen to fail")
        finally:
            await app.write("UPDATE chaos.at_work SET ended = clock_timestamp() WHERE id = :id", id=place)

    return module


class Run(JobProgram):
    """One run of the program; ``perform()`` returns its verdict."""

    def act(self) -> Verdict:
        """Start all runs, let them be worked on under fire until all have ended, judge."""
        self.tables(TABLES)
        runs = self.size(1000, 60)
        self.run(lambda: self._start(runs))
        began = time.monotonic()
        crowd = self.crowd("worker", PROCESSES, lambda label, _: self._application(label), kill_every=KILL_EVERY)
        crowd.killed = self._note_killed
        self.rest(crowd, lambda: not self.oracle.number(UNFINISHED))
        crowd.cease()
        seconds, ask = time.monotonic() - began, self.oracle.number
        self.oracle.rows(CLOSE)
        verdict = Verdict(f"limits (seed {self.options.seed})")
        met = ask(MET)
        verdict.told({
            "runs": runs, "keys": KEYS, "processes": PROCESSES, "kill -9 of workers": crowd.kills, "seconds": seconds,
            "attempts that began": ask("SELECT count(*) FROM chaos.at_work"), "most at work at once": ask(MOST),
        })  # fmt: skip
        verdict.none_of({
            "pairs of one key that met": met, "intervals left open": ask(LEFT_OPEN),
            "runs that have not ended": ask(UNFINISHED), "runs without success": ask(FAILED),
            "runs without effect": ask(MISSING, runs=runs), "effects repeated": ask(TWICE),
            "workers that ended by themselves": crowd.failures,
        })  # fmt: skip
        if not met:
            self.oracle.rows(PROOF)  # the database says so too
        return verdict

    def _note_killed(self, process: Process) -> None:
        self.oracle.rows(KILLED, process=process.name)

    def _application(self, label: str) -> JobApplication:
        return JobApplication(self.url, self.options, label, _module)

    async def _start(self, runs: int) -> None:
        app = self._application("starter")
        await app.events.start(drains=False)
        given = [Keyed(number=number, key=number % KEYS) for number in range(1, runs + 1)]
        await app.events.jobs.start_many(app.job("chaos.alone"), given)
        await app.events.stop()
