"""A worker that is stopped past its lease, wherever it is about to write, and goes on: it changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import signal

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fastapi_events import HandlerSession, JobContext, Module
from tests.chaos.job_application import FAILED, OFTEN, STALE, UNFINISHED, JobApplication, JobProgram, worker
from tests.chaos.processes import Main, Process
from tests.chaos.verdict import Check, Verdict

PLACES = (
    "in a step", "in a plain step", "before a spawn", "before a checkpoint", "before a failure", "at the end",
    "in a session",
)  # fmt: skip
"""Where the zombie stands when it is stopped: behind each of them it writes by another statement."""

GRACE = 60.0
"""Seconds in which whatever the schedule stands on must have come."""

TABLES = """
CREATE TABLE chaos.stood (number integer NOT NULL, process text NOT NULL);
CREATE TABLE chaos.open_for (process text PRIMARY KEY);
CREATE TABLE chaos.late_effect (number integer NOT NULL);
ALTER TABLE events.run ADD COLUMN process text DEFAULT current_setting('chaos.process', true);
ALTER TABLE events.run_step ADD COLUMN process text DEFAULT current_setting('chaos.process', true);
ALTER TABLE events.run_attempt ADD COLUMN process text DEFAULT current_setting('chaos.process', true);
ALTER TABLE events.run_end ADD COLUMN process text DEFAULT current_setting('chaos.process', true);
ALTER TABLE chaos.late_effect ADD COLUMN process text DEFAULT current_setting('chaos.process', true);
"""
EFFECT = text("INSERT INTO chaos.late_effect (number) VALUES (:number)")
STOOD = "SELECT count(DISTINCT number) FROM chaos.stood WHERE process = ANY (%(processes)s) AND number >= %(first)s"
OPEN = "INSERT INTO chaos.open_for SELECT unnest(%(processes)s::text[]) ON CONFLICT DO NOTHING"
ITS_STALE = STALE + " WHERE pid = %(pid)s"
NONE_LEFT = f"SELECT (({UNFINISHED}) = 0)::int"

BY_ZOMBIES = "SELECT count(*) FROM {} WHERE process LIKE 'zombie%%'"
WRITTEN = ("chaos.late_effect", "events.run", "events.run_step", "events.run_attempt", "events.run_end")
REPEATED = "SELECT count(*) - count(DISTINCT number) FROM chaos.late_effect"
WITH_EFFECT = "SELECT count(DISTINCT number) FROM chaos.late_effect"
CHILDREN = "SELECT count(*) FROM events.run WHERE parent_id IS NOT NULL"


class Late(BaseModel):
    """The input of a run, and at which of the places it is to be stopped."""

    number: int
    place: str


def _module(app: JobApplication) -> Module:
    module = Module("chaos")

    async def stand(job: JobContext[Late]) -> None:
        """Say that this process has come here, and wait until it may go on."""
        await app.write(
            "INSERT INTO chaos.stood VALUES (:number, :process)", number=job.input.number, process=app.label
        )
        query = text("SELECT count(*) FROM chaos.open_for WHERE process = :process")
        while True:
            with contextlib.suppress(DBAPIError, OSError):
                async with app.sessions() as session:
                    if (await session.execute(query, {"process": app.label})).scalar_one():
                        return
            await asyncio.sleep(0.01)

    @module.job("chaos.child", retry=OFTEN)
    async def child(job: JobContext[Late]) -> None:
        await asyncio.sleep(0)

    @module.job("chaos.late", retry=OFTEN)
    async def late(job: JobContext[Late]) -> str:
        async def write(session: HandlerSession) -> str:
            await session.execute(EFFECT, {"number": job.input.number})
            await stand(job)
            return app.label

        async def tell() -> str:
            await stand(job)
            return app.label

        place = job.input.place
        if place == "in a step":
            return await job.step("write", write)
        if place == "in a plain step":
            return await job.step("tell", tell)
        await stand(job)
        if place == "before a spawn":
            await job.spawn(child, job.input, on_parent_close="abandon")
        elif place == "before a checkpoint":
            await job.checkpoint()
        elif place == "before a failure" and app.label.startswith("zombie"):
            raise ValueError("too late")
        return app.label

    @module.job("chaos.late_in_session", retry=OFTEN)
    async def late_in_session(job: JobContext[Late], session: HandlerSession) -> str:
        await session.execute(EFFECT, {"number": job.input.number})
        await stand(job)
        return app.label

    return module


class Run(JobProgram):
    """One run of the program; ``perform()`` returns its verdict."""

    def act(self) -> Verdict:
        """Stop workers while their heirs are at the same runs, and others whose runs have ended meanwhile; judge."""
        self.tables(TABLES)
        self._runs = self._zombies = self._stale = 0
        for _ in range(self.size(10, 1)):
            self._play(1, held=True)
        for _ in range(self.size(4, 1)):
            self._play(self.size(5, 1), held=False)
        ask, verdict, runs = self.oracle.number, Verdict(f"zombies (seed {self.options.seed})"), self._runs
        each = runs // len(PLACES)
        verdict.told({"workers stopped past their lease": self._zombies, "runs that they had": runs})
        verdict.checks.append(
            Check("of those counted as lost, by the zombies", self._stale, at_least=runs, at_most=runs)
        )
        verdict.none_of({f"rows of {table} by zombies": ask(BY_ZOMBIES.format(table)) for table in WRITTEN})
        verdict.none_of({
            "effects repeated": ask(REPEATED), "runs without effect": 2 * each - ask(WITH_EFFECT),
            "children, but one for each that spawns": abs(ask(CHILDREN) - each),
            "runs that have not ended": ask(UNFINISHED), "runs without success": ask(FAILED),
        })  # fmt: skip
        return verdict

    def _play(self, each: int, *, held: bool) -> None:
        """A worker is stopped with runs at each place; ``held``: its heirs are at work on them when it goes on."""
        first, number = self._runs + 1, each * len(PLACES)
        self._runs, self._zombies = self._runs + number, self._zombies + 1
        zombie = self._worker("zombie", concurrency=number)
        self.run(lambda: self._start(first, number))
        self._await(STOOD, number, first=first, processes=[zombie.name])
        zombie.send(signal.SIGSTOP)
        # One run at a time of those that may have ended a process: so many heirs that each has one.
        heirs = [self._worker(f"heir{place}", concurrency=1) for place in range(number if held else 2)]
        names = [heir.name for heir in heirs]
        if not held:
            self._open(names)
        self._await(STOOD, number, first=first, processes=names)
        if not held:
            self._await(NONE_LEFT)
        self._open([zombie.name])
        zombie.send(signal.SIGCONT)
        self._await(ITS_STALE, number, pid=zombie.pid)
        self._open(names)
        self._await(NONE_LEFT)
        self._stale += self.oracle.number(ITS_STALE, pid=zombie.pid)
        self.nursery.clear()

    def _worker(self, name: str, concurrency: int) -> Process:
        def main(label: str) -> Main:
            return worker(lambda: self._application(label, concurrency), self.twin)

        return self.nursery.fork(name, main)

    def _application(self, label: str, concurrency: int = 1) -> JobApplication:
        return JobApplication(
            self.url, self.options, label, _module, concurrency={"batch": concurrency},
            handler_connections=max(4, concurrency), connections=2 * concurrency + 2,
        )  # fmt: skip

    async def _start(self, first: int, number: int) -> None:
        app = self._application("starter")
        await app.events.start(drains=False)
        for count in range(number):
            place = PLACES[count % len(PLACES)]
            job = app.job("chaos.late_in_session" if place == "in a session" else "chaos.late")
            await app.events.jobs.start(job, Late(number=first + count, place=place))
        await app.events.stop()

    def _open(self, processes: list[str]) -> None:
        self.oracle.rows(OPEN, processes=processes)

    def _await(self, query: str, at_least: int = 1, **given: object) -> None:
        """Wait for what the schedule stands on; with a planted defect it may never come, and shows otherwise."""
        found = self.oracle.until(query, GRACE if self.twin == "none" else GRACE / 2, at_least, **given)
        if not found and self.twin == "none":
            raise TimeoutError(f"the schedule came to a halt at {given or query}")
