"""Events that start jobs while whoever handles them is killed: one run for each event and trigger that match."""

from __future__ import annotations

import asyncio
import random
import time

from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from fastapi_events import Event, HandlerSession, JobContext, Module, Trigger, deterministic_id
from tests.chaos.crowd import Crowd
from tests.chaos.job_application import FAILED, OFTEN, UNFINISHED, JobApplication, JobProgram
from tests.chaos.processes import Main, Process
from tests.chaos.verdict import Verdict

AT_ONCE = 8
KILL_EVERY = 0.5
FEEDER_KILL_EVERY = 5.0

TABLES = """
CREATE TABLE chaos.fed (number integer PRIMARY KEY);
CREATE TABLE chaos.arrival (job text NOT NULL, number integer NOT NULL);
CREATE INDEX ON chaos.arrival (job, number);
CREATE VIEW chaos.expected AS
    SELECT 'chaos.count' AS job, number FROM chaos.fed
    UNION ALL SELECT 'chaos.reorder', number FROM chaos.fed WHERE number % 3 = 0 OR number % 15 = 1
    UNION ALL SELECT 'chaos.note', number FROM chaos.fed WHERE number % 20 = 7;
CREATE VIEW chaos.begun AS
    SELECT j.name AS job, (r.input ->> 'number')::integer AS number, r.source, r.event_id
    FROM events.run r JOIN events.job j ON j.id = r.job_id;
"""
# What the twin would else be saved by.
WITHOUT_NET = "DROP INDEX events.run_event"

FEED = text("INSERT INTO chaos.fed VALUES (:number) ON CONFLICT DO NOTHING RETURNING number")
FED = "SELECT count(*) FROM chaos.fed"
EXPECTED = "SELECT count(*) FROM chaos.expected"
MISSING = "SELECT count(*) FROM (SELECT job, number FROM chaos.expected EXCEPT SELECT job, number FROM chaos.{}) m"
PHANTOM = "SELECT count(*) FROM (SELECT job, number FROM chaos.{} EXCEPT SELECT job, number FROM chaos.expected) p"
REPEATED = "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM chaos.{} GROUP BY job, number) r"
EVENTS_TWICE = """
SELECT coalesce(sum(n - 1), 0) FROM (
    SELECT count(*) AS n FROM events.event WHERE name = 'chaos.arrived' GROUP BY payload ->> 'number') e"""
HOMELESS = """
SELECT count(*) FROM chaos.begun b WHERE b.source <> 'event' OR NOT EXISTS (
    SELECT FROM events.event e WHERE e.id = b.event_id AND (e.payload ->> 'number')::integer = b.number)"""
DEAD = "SELECT count(*) FROM events.delivery WHERE state IN ('dead', 'discarded')"


class Arrived(Event, name="chaos.arrived", aggregate="shelf", aggregate_id="shelf"):
    """Something has arrived; every third one is to be reordered."""

    number: int
    shelf: int


class Numbered(BaseModel):
    """The input of a run."""

    number: int


def _module(_: JobApplication) -> Module:
    """Two jobs with a trigger each on the same event, and one that is only ever started together with it."""
    module = Module("chaos")

    @module.job("chaos.count", retry=OFTEN, triggers=[Trigger(Arrived, map=_numbered)])
    async def count(job: JobContext[Numbered], session: HandlerSession) -> None:
        await _arrived(session, job)

    every_third = Trigger(Arrived, map=_numbered, when=lambda event: event.number % 3 == 0)

    @module.job("chaos.reorder", retry=OFTEN, triggers=[every_third])
    async def reorder(job: JobContext[Numbered], session: HandlerSession) -> None:
        await _arrived(session, job)

    @module.job("chaos.note", retry=OFTEN)
    async def note(job: JobContext[Numbered], session: HandlerSession) -> None:
        await _arrived(session, job)

    return module


def _started_with(number: int) -> str | None:
    """The job that is started together with the event of this number, in the request's transaction."""
    if number % 20 == 7:
        return "chaos.note"
    return "chaos.reorder" if number % 12 == 0 or number % 15 == 1 else None


def _numbered(event: Arrived) -> Numbered:
    return Numbered(number=event.number)


async def _arrived(session: HandlerSession, job: JobContext[Numbered]) -> None:
    values = {"job": job.run.job, "number": job.input.number}
    await session.execute(text("INSERT INTO chaos.arrival VALUES (:job, :number)"), values)


class Feed:
    """Publishes every number that has not been, each in a transaction; one in twenty is rolled back at first."""

    def __init__(self, app: JobApplication, numbers: int) -> None:
        self._app, self._numbers = app, numbers

    async def run(self) -> None:
        """Return when all numbers are committed."""
        await self._app.events.start(drains=False)
        async with self._app.sessions() as session:
            fed = set((await session.execute(text("SELECT number FROM chaos.fed"))).scalars())
        left = [number for number in range(1, self._numbers + 1) if number not in fed]
        random.shuffle(left)
        await asyncio.gather(*(self._publish(left) for _ in range(AT_ONCE)))
        await self._app.events.stop()

    async def _publish(self, left: list[int]) -> None:
        while left:
            number = left.pop()
            async with self._app.sessions() as session:
                if (await session.execute(FEED, {"number": number})).first() is None:
                    continue  # a feeder that was killed had sent its COMMIT
                await self._tell(session, number)
                if random.random() < 0.05:
                    await session.rollback()
                    left.append(number)
                    continue
                await session.commit()
            if number % 24 == 0:  # told twice, as by a webhook
                async with self._app.sessions() as session:
                    await self._tell(session, number)
                    await session.commit()

    async def _tell(self, session: AsyncSession, number: int) -> None:
        publish, event = self._app.events.publisher(session), Arrived(number=number, shelf=number % 50)
        job = _started_with(number)
        if job is None:
            await publish(event)
            return
        known = deterministic_id("chaos", str(number)) if number % 24 == 0 else None
        await publish.and_start(event, self._app.job(job), Numbered(number=number), event_id=known)


class Run(JobProgram):
    """One run of the program; ``perform()`` returns its verdict."""

    def act(self) -> Verdict:
        """Publish under fire, drain, judge."""
        self.tables(TABLES + (WITHOUT_NET if self.twin == "bridge" else ""))
        events = self.size(self.options.events, min(self.options.events, 300))
        began = time.monotonic()
        crowd = self.crowd(
            "worker", self.options.workers, lambda label, _: self._application(label), kill_every=KILL_EVERY
        )
        feeder_kills = self._feed(crowd, events)
        fed_after = time.monotonic() - began
        self.rest(crowd, lambda: self._left() <= events // 50)
        crowd.cease()
        self.rest(crowd, lambda: not self._left())
        crowd.until(lambda: False, 2 * self.options.lease)  # whoever would do it again has come to it by then
        verdict = Verdict(f"bridge (seed {self.options.seed})")
        verdict.told({
            "events": self.oracle.number(FED), "runs": self.oracle.number("SELECT count(*) FROM events.run"),
            "seconds until all were fed": fed_after, "kill -9 of workers": crowd.kills,
            "kill -9 of the feeder": feeder_kills,
        })  # fmt: skip
        self._judge(verdict, events)
        verdict.none_of({"workers that ended by themselves": crowd.failures})
        return verdict

    def _application(self, label: str) -> JobApplication:
        return JobApplication(self.url, self.options, label, _module)

    def _feed(self, crowd: Crowd, events: int) -> int:
        """Feed all under fire; returns how often the feeder was killed."""
        feeder, kills = self._feeder(events), 0
        next_kill = time.monotonic() + FEEDER_KILL_EVERY
        while not (feeder.ended() and feeder.status == 0):
            crowd.tend()
            if feeder.ended() and feeder.status:
                crowd.failures += 1
                feeder = self._feeder(events)
            if time.monotonic() >= next_kill:
                next_kill = time.monotonic() + FEEDER_KILL_EVERY
                if not feeder.ended():
                    feeder.kill()
                    kills += 1
                    feeder = self._feeder(events)
            time.sleep(0.01)
        return kills

    def _feeder(self, events: int) -> Process:
        def main(label: str) -> Main:
            async def feed() -> None:
                await Feed(self._application(label), events).run()

            return feed

        return self.nursery.fork("feeder", main)

    def _left(self) -> int:
        return self.oracle.number(MISSING.format("begun")) + self.oracle.number(UNFINISHED)

    def _judge(self, verdict: Verdict, events: int) -> None:
        ask = self.oracle.number
        verdict.none_of({
            "events that were not fed": events - ask(FED), "events that are there twice": ask(EVENTS_TWICE),
            "runs missing": ask(MISSING.format("begun")), "runs of no matching trigger": ask(PHANTOM.format("begun")),
            "second runs of an event and trigger": ask(REPEATED.format("begun")),
            "runs without their event": ask(HOMELESS), "runs that have not ended": ask(UNFINISHED),
            "runs without success": ask(FAILED), "effects missing": ask(MISSING.format("arrival")),
            "effects of no run": ask(PHANTOM.format("arrival")), "effects repeated": ask(REPEATED.format("arrival")),
            "dead letters": ask(DEAD),
        })  # fmt: skip
