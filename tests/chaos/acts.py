"""The application of the fixed schedules: handlers that report where they are and go on when they are told to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from fastapi_events import Delivery, HandlerSession, Module, Retry, fixed
from fastapi_events.store.cursors import Batch, CursorStore, HeldPartition
from tests.chaos.application import Application, Placed
from tests.chaos.options import Options, Twin
from tests.chaos.processes import Main
from tests.chaos.twins import plant

READ_AHEAD = (4, 5)
"""Accounts of the act of the server's crash; their keys are in two partitions."""

PATIENT = {"inline_budget": 120.0, "contended_budget": 120.0}
"""Whoever waits at a gate stays in its batch: one that is detached plays in another act."""


class Paid(Placed, name="chaos.order.paid", aggregate="account", aggregate_id="account"):
    """For the act of the mark: its effects are committed, then the worker dies."""


class Packed(Placed, name="chaos.order.packed", aggregate="account", aggregate_id="account"):
    """For the act of the partition: handled by a worker that is stopped past its lease and fails late."""


class Sent(Placed, name="chaos.order.sent", aggregate="account", aggregate_id="account"):
    """For the act of the parked key: retried by a worker that is stopped past its lease and fails late."""


class TooLate(Exception):
    """What the stopped worker's handler ends with."""


class Kept(Placed, name="chaos.order.kept", aggregate="account", aggregate_id="account"):
    """For the act of the server's crash: read ahead in a window that the crash has taken back."""


class Stage:
    """Where a handler is, and whether it may go on, as rows that the harness reads and writes.

    Nothing here makes the server flush its log: what a crash takes is for the schedule to say.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    async def report(self, place: str) -> None:
        """Say that this process has come to ``place``."""
        async with self._app.sessions() as session:
            await session.execute(text("SET LOCAL synchronous_commit = off"))
            await session.execute(text("INSERT INTO chaos.reached VALUES (:me, :place)"), self._me(place))
            await session.commit()

    async def reach(self, place: str) -> str:
        """Report ``place``, wait until this process's gate there is opened, and return what was written on it."""
        await self.report(place)
        query = text("SELECT word FROM chaos.gate WHERE place = :place AND :me LIKE process || '-%'")
        while True:
            with contextlib.suppress(DBAPIError, OSError):
                async with self._app.sessions() as session:
                    word = (await session.execute(query, self._me(place))).scalar_one_or_none()
                if word is not None:
                    return str(word)
            await asyncio.sleep(0.01)

    def _me(self, place: str) -> dict[str, str]:
        return {"me": self._app.label, "place": place}


def slow_reader(app: Application) -> None:
    """Let this process's first reading ahead wait for its gate, and report when it is done."""
    stage, original = Stage(app), CursorStore.claim
    waited: list[bool] = []

    async def claim(self: CursorStore, held: Sequence[HeldPartition], size: int, **more: Any) -> Batch:
        if not held or waited:
            return await original(self, held, size, **more)
        waited.append(True)
        await stage.reach("reading ahead")
        batch = await original(self, held, size, **more)
        await stage.report("read ahead")
        return batch

    CursorStore.claim = claim  # type: ignore[method-assign]


def stage_module(app: Application) -> Module:
    """The acts' handlers. Retried ones are retried once, at once."""
    module, stage = Module("acts"), Stage(app)
    once = Retry(max_attempts=1)

    @module.on(Paid, id="pay", retry=once)
    async def pay(event: Paid, session: HandlerSession) -> None:
        await app.effect(session, "pay", event)

    @module.on(Paid, id="pay.next", retry=once)
    async def pay_next(event: Paid) -> None:
        if event.seq == 2:
            await stage.reach("paid")

    @module.on(Packed, id="pack", retry=once)
    async def pack(event: Packed) -> None:
        if await stage.reach(f"pack{event.seq}") == "fail":
            raise TooLate
        await app.lone_effect("pack", event)

    @module.on(Sent, id="send", retry=Retry(max_attempts=2, backoff=fixed(0.0)))
    async def send(event: Sent, delivery: Delivery) -> None:
        if delivery.attempt == 1 and event.seq == 1:
            raise ConnectionRefusedError("the first attempt fails")
        if await stage.reach(f"send{event.seq}") == "fail":
            raise TooLate
        await app.lone_effect("send", event, delivery.attempt)

    @module.on(Kept, id="keep", retry=once)
    async def keep(event: Kept) -> None:
        if event.seq == 1 and event.account == READ_AHEAD[0]:
            await stage.reach("kept")
        await app.lone_effect("keep", event)

    return module


def actor(url: str, options: Options, label: str, twin: Twin, *, slow: bool = False) -> Main:
    """A worker of the fixed schedules; a ``slow`` one reads ahead when it is told to, and little at a time."""

    async def main() -> None:
        plant(twin)
        app = Application(url, options, label, stage_module, batch_size=2 if slow else 50, **PATIENT)
        if slow:
            slow_reader(app)
        await app.events.start(drains=True)
        await asyncio.Event().wait()

    return main


def publisher(url: str, options: Options, label: str, transactions: Sequence[Sequence[Placed]]) -> Main:
    """Publishes the act's events, transaction by transaction, and ends."""

    async def main() -> None:
        app = Application(url, options, label, stage_module)
        await app.events.start(drains=False)
        for events in transactions:
            async with app.sessions() as session:
                await app.events.publisher(session).many(events)
                await session.commit()
        await app.events.stop()

    return main
