"""Rows that publish by themselves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlmodel import Field, SQLModel

from fastapi_events import EmitsEvents, Event, Events, HandlerSession, Module
from tests.conformance.backends import Backend
from tests.delivery.stage import Placed


class NoteCreated(Event, name="shop.note.created", aggregate_id="id"):
    id: int
    text: str


class NoteUpdated(Event, name="shop.note.updated", aggregate_id="id"):
    id: int
    text: str


class Note(EmitsEvents, SQLModel, table=True, emits=(NoteCreated, NoteUpdated)):
    __tablename__ = "conformance_note"
    id: int = Field(primary_key=True)
    text: str


@asynccontextmanager
async def notes(events: Events) -> AsyncIterator[None]:
    """The table, for a block of code."""

    async def change(how: str) -> None:
        async with events.session() as session:
            await (await session.connection()).run_sync(getattr(Note.__table__, how))  # type: ignore[attr-defined]  # SQLModel's
            await session.commit()

    await change("create")
    try:
        yield
    finally:
        await change("drop")


def listening(seen: list[str]) -> Module:
    module = Module("shop")

    @module.on(Placed)
    async def write(event: Placed, session: HandlerSession) -> None:
        session.add(Note(id=event.number, text=event.order))

    @module.on(NoteCreated)
    async def created(event: NoteCreated) -> None:
        seen.append(f"created {event.text}")

    @module.on(NoteUpdated)
    async def updated(event: NoteUpdated) -> None:
        seen.append(f"updated {event.text}")

    return module


async def test_rows_tell_of_themselves_with_the_commit(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(listening(seen))
    async with notes(events):
        async with events.session() as session:
            note = Note(id=1, text="first")
            session.add(note)
            await session.flush()
            note.text = "second"
            await session.commit()
            note.text = "third"
            await session.rollback()
        await events.publish(Placed(order="fourth", number=4))
        await events.drain_once()
    assert seen == ["created second", "created fourth"]


async def test_rows_tell_of_themselves_inside_a_tests_transaction(backend: Backend) -> None:
    seen = list[str]()
    events = await backend.idle(listening(seen))
    async with notes(events):
        async with events.session() as session:
            session.add(Note(id=1, text="first"))
            await events.publish(Placed(order="second", number=2), session=session)
            await events.drain_once(session=session)
            await session.rollback()
        await events.drain_once()
    assert sorted(seen) == ["created first", "created second"]
