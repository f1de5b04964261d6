"""Runs of five steps while processes are killed and frozen: every run completes, each step's effect is there once."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path
from typing import Any

import asyncpg
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_events import Events, EventsSettings, HandlerSession, Job, JobContext, Module, Retry, exponential
from fastapi_events.store.database import sqlalchemy_url
from tests.chaos.options import Options
from tests.chaos.oracle import Oracle
from tests.chaos.processes import Main, Nursery, Process
from tests.chaos.tables import install
from tests.chaos.verdict import Check, Verdict

TRANSACTIONAL = ("reserve", "charge", "book")
PLAIN = "tell"
STOP_EVERY = 5.0
PATIENCE = 60.0

TABLES = """
CREATE TABLE chaos.step_effect (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, run integer NOT NULL, step text NOT NULL, process text NOT NULL,
    redelivered boolean NOT NULL);
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
_EFFECT = text("INSERT INTO chaos.step_effect (run, step, process, redelivered) VALUES (:run, :step, :process, :again)")

UNFINISHED = "SELECT count(*) FROM events.run_queue"
FAILED = "SELECT count(*) FROM events.run_end WHERE state <> 'completed'"
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
CHILDREN = """
SELECT count(*) FROM (
    SELECT count(*) AS n FROM events.run WHERE parent_id IS NOT NULL GROUP BY parent_id) c WHERE n <> 1"""
ALL_CHILDREN = "SELECT count(*) FROM events.run WHERE parent_id IS NOT NULL"


class Order(BaseModel):
    """The input of a run."""

    number: int


class Application:
    """One process's ``Events``."""

    def __init__(self, url: str, options: Options, label: str) -> None:
        self.label = label
        engine = create_async_engine(sqlalchemy_url(url), pool_size=8, max_overflow=0, pool_timeout=10)
        self.sessions = async_sessionmaker(engine, expire_on_commit=False)
        settings = EventsSettings(
            database_url=url, lease=options.lease, heartbeat=options.heartbeat, poll_interval=options.poll_interval,
            concurrency={"batch": 8}, max_crashes=1000, handler_connections=4, shutdown_grace=2,
        )  # fmt: skip
        module, self.fulfil = self._jobs()
        self.events = Events([module], sessions=self.sessions, settings=settings)

    def _jobs(self) -> tuple[Module, Job[Order, int]]:
        module = Module("chaos")
        often = Retry(max_attempts=8, backoff=exponential(0.05, cap=0.5))

        @module.job("chaos.ship", retry=often)
        async def ship(job: JobContext[Order]) -> int:
            await asyncio.sleep(random.uniform(0, 0.02))
            return job.input.number

        @module.job("chaos.fulfil", retry=often)
        async def fulfil(job: JobContext[Order]) -> int:
            number, again = job.input.number, job.redelivered

            async def write(step: str, session: HandlerSession) -> int:
                await self._effect(session, number, step, again=again)
                await asyncio.sleep(random.uniform(0, 0.02))
                return number

            async def tell() -> int:
                async with self.sessions() as session:
                    await self._effect(session, number, PLAIN, again=again)
                    await session.commit()
                await asyncio.sleep(random.uniform(0, 0.02))
                return number

            for step in TRANSACTIONAL:
                await job.step(step, write, step)
            await job.step(PLAIN, tell)
            await job.spawn(ship, job.input)
            [shipped] = await job.gather_children()
            if number % 20 == 0 and job.attempt == 1:
                raise ValueError("chosen to fail")
            return int(shipped)

        return module, fulfil

    async def _effect(self, session: Any, number: int, step: str, *, again: bool) -> None:
        await session.execute(_EFFECT, {"run": number, "step": step, "process": self.label, "again": again})


class Run:
    """One run of the program; ``perform()`` returns its verdict."""

    def __init__(self, url: str, options: Options, logs: Path) -> None:
        self._url, self._options = url, options
        self._random, self._nursery, self._oracle = random.Random(options.seed), Nursery(logs), Oracle(url)
        self._workers: list[Process] = []
        self._stopped: dict[Process, float] = {}
        self._kills = self._stops = 0

    def perform(self) -> Verdict:
        """Start all runs, let them be worked on under fire, cease fire, drain, judge."""
        install(self._url)
        asyncio.run(self._prepare())
        try:
            began = time.monotonic()
            self._workers = [self._worker(number) for number in range(self._options.workers)]
            self._under_fire(began)
            left = self._oracle.number(UNFINISHED)
            ceased = time.monotonic()
            while self._oracle.number(UNFINISHED) and time.monotonic() - ceased < PATIENCE:
                self._revive()
                time.sleep(0.05)
            return self._judge(left, time.monotonic() - ceased)
        finally:
            self._oracle.close()
            self._nursery.clear()

    async def _prepare(self) -> None:
        connection = await asyncpg.connect(self._url)
        await connection.execute(TABLES)
        await connection.close()
        app = Application(self._url, self._options, "starter")
        await app.events.start(drains=False)
        await app.events.jobs.start_many(app.fulfil, [Order(number=n) for n in range(1, self._options.runs + 1)])
        await app.events.stop()

    def _worker(self, number: int) -> Process:
        def main(label: str) -> Main:
            async def work() -> None:
                app = Application(self._url, self._options, label)
                await app.events.start(drains=True)
                await asyncio.Event().wait()

            return work

        return self._nursery.fork(f"worker{number}", main)

    def _under_fire(self, began: float) -> None:
        next_kill, next_stop = began + 1.0, began + STOP_EVERY
        while (now := time.monotonic()) < began + self._options.seconds:
            if now >= next_stop:
                next_stop += STOP_EVERY
                victim = self._random.choice(self._workers)
                victim.send(signal.SIGSTOP)
                self._stopped[victim] = now + 1.5 * self._options.lease
                self._stops += 1
            if now >= next_kill:
                next_kill = max(next_kill + self._options.kill_every, now)
                victim = self._random.choice(self._workers)
                victim.kill()
                self._stopped.pop(victim, None)
                self._kills += 1
            for process, until in list(self._stopped.items()):
                if now >= until:
                    process.send(signal.SIGCONT)
                    del self._stopped[process]
            self._revive()
            time.sleep(0.01)
        for process in self._stopped:
            process.send(signal.SIGCONT)

    def _revive(self) -> None:
        for place, process in enumerate(self._workers):
            if process.ended():
                self._workers[place] = self._worker(place)

    def _judge(self, left: int, drained: float) -> Verdict:
        ask, verdict, runs = self._oracle.number, Verdict(f"jobs (seed {self._options.seed})"), self._options.runs
        verdict.told({
            "runs": runs, "kill -9 of workers": self._kills, "SIGSTOPs past the lease": self._stops,
            "runs not ended when the fire ceased": left, f"{PLAIN} (plain): repeated": ask(REPEATED, step=PLAIN),
            "attempts recorded": ask("SELECT count(*) FROM events.run_attempt"),
        })  # fmt: skip
        verdict.none_of({"runs that have not ended": ask(UNFINISHED), "runs without success": ask(FAILED)})
        for step in TRANSACTIONAL:
            verdict.none_of({
                f"{step}: runs without effect": ask(MISSING, step=step, runs=runs),
                f"{step}: effects repeated": ask(REPEATED, step=step),
            })  # fmt: skip
        verdict.none_of({
            f"{PLAIN} (plain): runs without effect": ask(MISSING, step=PLAIN, runs=runs),
            f"{PLAIN} (plain): repeated without being told": ask(UNTOLD, step=PLAIN),
            "steps written twice": ask("SELECT count(*) FROM chaos.step_rewritten"),
            "runs with another number of children than one": ask(CHILDREN),
            "children in all, but one for each run": ask(ALL_CHILDREN) - runs,
        })  # fmt: skip
        allowed = 3 * self._options.lease + left / 50
        verdict.checks.append(Check("seconds until all had ended (three leases, then pace)", drained, allowed))
        return verdict
