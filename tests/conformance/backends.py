"""The two back ends, each as the tests use it: an instance, its transactions, and time that passes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from fastapi_events import Event, Events, EventsSettings, Module
from fastapi_events.testing import TimeMachine
from fastapi_events.testing.memory import in_memory
from tests.delivery.stage import QUICK, Stage, effect

EFFECT = "CREATE TABLE effect (handler text NOT NULL, number integer NOT NULL, label text UNIQUE)"


class Backend:
    """One back end, for one test."""

    name = ""

    async def idle(self, *modules: Module, **options: Any) -> Events:
        """A started instance that handles events when ``drain_once()`` is called, with an empty table ``effect``."""
        raise NotImplementedError

    async def running(self, *modules: Module, **options: Any) -> Events:
        """A started instance that handles events and runs jobs by itself."""
        raise NotImplementedError

    async def later(self, seconds: float) -> None:
        """Let time pass for what waits."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop what was started."""

    async def effects(self, events: Events) -> list[tuple[str, int]]:
        """What handlers have written and committed."""
        async with events.session() as session:
            connection = await session.connection()
            rows = await connection.execute(text("SELECT handler, number FROM effect ORDER BY number"))
            return [(row[0], row[1]) for row in rows]


class Postgres(Backend):
    name = "postgres"

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def idle(self, *modules: Module, **options: Any) -> Events:
        return await self.stage.idle(*modules, **{"development": True} | options)

    async def running(self, *modules: Module, **options: Any) -> Events:
        return await self.stage.running(*modules, **{"development": True} | options)

    async def later(self, seconds: float) -> None:
        await TimeMachine(*self.stage.instances).advance(seconds)


class Memory(Backend):
    name = "memory"

    def __init__(self) -> None:
        self.started: list[Any] = []

    async def idle(self, *modules: Module, **options: Any) -> Events:
        return await self._start(modules, False, **options)

    async def running(self, *modules: Module, **options: Any) -> Events:
        return await self._start(modules, True, **options)

    async def _start(
        self, modules: Sequence[Module], drains: bool, *, sessions: Any = None, sync_sessions: Any = None,
        middleware: Any = (), group: str | None = None, **settings: Any,
    ) -> Events:  # fmt: skip
        events = Events(
            modules, group=group, sessions=sessions, sync_sessions=sync_sessions, middleware=middleware,
            settings=EventsSettings(**QUICK | settings),
        )  # fmt: skip
        memory = in_memory(events, drains=drains)
        await memory.__aenter__()
        self.started.append(memory)
        async with events.session() as session:
            await (await session.connection()).execute(text(EFFECT))
            await session.commit()
        return events

    async def later(self, seconds: float) -> None:
        for memory in self.started:
            memory.clock.advance(seconds)

    async def close(self) -> None:
        for memory in reversed(self.started):
            await memory.__aexit__(None, None, None)


async def publish(events: Events, *published: Event, **options: Any) -> None:
    """Publish several events in one transaction."""
    async with events.session() as session:
        publisher = events.publisher(session)
        for event in published:
            await publisher(event, **options)
        await session.commit()


__all__ = ["Backend", "Memory", "Postgres", "effect", "publish"]
