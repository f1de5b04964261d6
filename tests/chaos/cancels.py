"""Trees of runs, cancelled from another process: who is at work is interrupted at once, the rest goes by its policy."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import text

from fastapi_events import JobContext, Module
from tests.chaos.job_application import PATIENCE, UNFINISHED, JobApplication, JobProgram
from tests.chaos.verdict import Check, Verdict

PROCESSES = 3
AT_ONCE = 5
"""Trees that stand at the same time."""
WITHIN = 1.0
"""Seconds in which a run that is at work is interrupted; its children are told when it has ended, one step later."""
LEASE, HEARTBEAT, POLL = 10.0, 3.0, 5.0
"""The product's own times: what must not take a second cannot wait for any of them."""

TABLES = """
CREATE TABLE chaos.moment (
    tree integer NOT NULL, part text NOT NULL, what text NOT NULL, process text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON chaos.moment (tree, part, what);
CREATE TABLE chaos.released (tree integer NOT NULL);
"""
NOTE = "INSERT INTO chaos.moment (tree, part, what, process) VALUES (:tree, :part, :what, :process)"
STANDING = "SELECT count(*) FROM chaos.moment WHERE tree = :tree AND what = 'began'"
RELEASED = text("SELECT count(*) FROM chaos.released WHERE tree = :tree")

# From the call of cancel to the CancelledError in the job's code.
DELAYS = """
SELECT extract(epoch FROM i.at - c.at) AS seconds FROM chaos.moment c
JOIN chaos.moment i ON i.tree = c.tree AND i.part = '{}' AND i.what = 'interrupted' WHERE c.what = 'cancelled'"""
FIGURES = (
    "SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), "
    "percentile_cont(0.99) WITHIN GROUP (ORDER BY seconds), max(seconds) FROM ({}) d"
)
OTHERWISE = """
SELECT count(*) FROM events.run r JOIN events.run_end e ON e.run_id = r.id
WHERE r.input ->> 'part' = %(part)s AND e.state <> %(state)s"""
ENDS = "SELECT count(*) FROM events.run r JOIN events.run_end e ON e.run_id = r.id WHERE r.input ->> 'part' = %(part)s"
WENT_ON = "SELECT count(*) FROM chaos.moment WHERE part = %(part)s AND what = 'went on'"
POLICIES = {
    "parent": "canceled",
    "cancel": "canceled",
    "terminate": "canceled",
    "asleep": "canceled",
    "abandon": "completed",
}
AT_WORK = ("parent", "cancel", "terminate", "abandon")


class Part(BaseModel):
    """The input of a run: its tree, and what it is in it."""

    tree: int
    part: str


def _module(app: JobApplication) -> Module:
    module = Module("chaos")

    async def note(job: JobContext[Part], what: str) -> None:
        await app.write(NOTE, tree=job.input.tree, part=job.input.part, what=what, process=app.label)

    async def work(job: JobContext[Part]) -> None:
        """At work until it is interrupted, or the tree is released."""
        await note(job, "began")
        try:
            while True:
                async with app.sessions() as session:
                    if (await session.execute(RELEASED, {"tree": job.input.tree})).scalar_one():
                        break
                await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            await note(job, "interrupted")
            raise
        await note(job, "went on")

    @module.job("chaos.branch")
    async def branch(job: JobContext[Part]) -> None:
        if job.input.part == "asleep":
            await job.sleep(3600)
        await work(job)

    @module.job("chaos.tree")
    async def tree(job: JobContext[Part]) -> None:
        number = job.input.tree
        await job.spawn(branch, Part(tree=number, part="cancel"), on_parent_close="cancel")
        await job.spawn(branch, Part(tree=number, part="terminate"), on_parent_close="terminate")
        await job.spawn(branch, Part(tree=number, part="abandon"), on_parent_close="abandon")
        await job.spawn(branch, Part(tree=number, part="asleep"), on_parent_close="cancel")
        await work(job)

    return module


class Run(JobProgram):
    """One run of the program; ``perform()`` returns its verdict."""

    def act(self) -> Verdict:
        """Grow trees and cancel them, one after the other; release what was to be left alone; judge."""
        self.tables(TABLES)
        trees = self.size(100, 6)
        crowd = self.crowd("worker", PROCESSES, lambda label, _: self._application(label))
        gardener = self.nursery.fork("gardener", lambda label: lambda: self._cancel(label, trees))
        crowd.until(gardener.ended, PATIENCE + 5 * trees)
        self.rest(crowd, lambda: not self.oracle.number(UNFINISHED))
        verdict = Verdict(f"cancels (seed {self.options.seed})")
        verdict.none_of({"the canceller ended badly": int(gardener.status != 0), "workers that ended": crowd.failures})
        self._judge(verdict, trees)
        return verdict

    def _application(self, label: str) -> JobApplication:
        return JobApplication(
            self.url, self.options, label, _module, lease=LEASE, heartbeat=HEARTBEAT, poll_interval=POLL,
            concurrency={"batch": 4 * AT_ONCE},
        )  # fmt: skip

    async def _cancel(self, label: str, trees: int) -> None:
        app = self._application(label)
        await app.events.start(drains=False)
        left = list(range(1, trees + 1))

        async def plant_and_cancel() -> None:
            while left:
                await self._one(app, left.pop())

        await asyncio.gather(*(plant_and_cancel() for _ in range(AT_ONCE)))
        await app.events.stop()

    async def _one(self, app: JobApplication, tree: int) -> None:
        started = await app.events.jobs.start(app.job("chaos.tree"), Part(tree=tree, part="parent"))
        await self._until(app, STANDING, tree, len(AT_WORK))
        await app.write(NOTE, tree=tree, part="parent", what="cancelled", process=app.label)
        await app.events.jobs.cancel(started, "cut down")
        await self._ended(app, started.run)
        await asyncio.sleep(0.5)  # a child that is to be left alone has time to be interrupted, if it is
        await app.write("INSERT INTO chaos.released VALUES (:tree)", tree=tree)

    async def _until(self, app: JobApplication, query: str, tree: int, at_least: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            async with app.sessions() as session:
                if (await session.execute(text(query), {"tree": tree})).scalar_one() >= at_least:
                    return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"tree {tree} does not stand")

    async def _ended(self, app: JobApplication, run: UUID) -> None:
        query = text(
            "SELECT count(*) FROM events.run_queue q JOIN events.run r ON r.id = q.run_id "
            "WHERE (r.id = :run OR r.parent_id = :run) AND r.input ->> 'part' <> 'abandon'"
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            async with app.sessions() as session:
                if not (await session.execute(query, {"run": run})).scalar_one():
                    return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"the tree of run {run} does not end")

    def _judge(self, verdict: Verdict, trees: int) -> None:
        ask = self.oracle.number
        for part, within in (("parent", WITHIN), ("cancel", 2 * WITHIN)):
            [[count, median, late, worst]] = self.oracle.rows(FIGURES.format(DELAYS.format(part)))
            verdict.told(
                {f"{part}: median seconds until interrupted": median or 0.0, f"{part}: 99 of 100": late or 0.0}
            )
            verdict.checks.append(Check(f"{part}: interrupted", count, at_least=trees, at_most=trees))
            verdict.checks.append(Check(f"{part}: most seconds until interrupted", worst or 0.0, within))
        for part, state in POLICIES.items():
            verdict.checks.append(
                Check(f"{part}: runs that ended", ask(ENDS, part=part), at_least=trees, at_most=trees)
            )
            verdict.none_of({f"{part}: not {state}": ask(OTHERWISE, part=part, state=state)})
        verdict.none_of({f"{part}: went on": ask(WENT_ON, part=part) for part in ("parent", "cancel", "terminate")})
        interrupted = "SELECT count(*) FROM chaos.moment WHERE part = 'abandon' AND what = 'interrupted'"
        verdict.none_of({"abandon: interrupted": ask(interrupted), "runs that have not ended": ask(UNFINISHED)})
