"""Statements that no flush sees are refused, unless it is said that they are meant; so is a session nobody serves."""

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, sessionmaker

from fastapi_events import Events, without_events
from fastapi_events.errors import BulkChangeRefused, InvalidPayload, NotStarted, PayloadTooLarge
from tests.delivery.stage import Stage
from tests.emits.book import Contact, Group, Note, Post, Silent
from tests.emits.conftest import Sessions, Told

ROW = {"id": uuid4(), "email": "bulk@example.org"}
TABLE = Contact.__table__  # type: ignore[attr-defined]
UPSERT = postgresql.insert(Contact).values(ROW).on_conflict_do_nothing()

STATEMENTS: list[Any] = [
    insert(Contact).values(ROW),
    update(Contact).values(name="bulk"),
    delete(Contact),
    insert(TABLE).values(ROW),
    update(TABLE).values(name="bulk"),
    delete(TABLE),
    UPSERT,
]
BULK: list[Callable[[Session], Any]] = [
    lambda session: session.bulk_save_objects([Contact(email="bulk@example.org")]),
    lambda session: session.bulk_insert_mappings(Contact, [ROW]),  # type: ignore[arg-type]
    lambda session: session.bulk_update_mappings(Contact, [{**ROW, "name": "bulk"}]),  # type: ignore[arg-type]
    lambda session: session.execute(insert(Contact), [ROW]),
    lambda session: session.execute(update(Contact), [{**ROW, "name": "bulk"}]),
]


def rows(session: Session) -> list[str]:
    return list(session.scalars(select(Contact.email)))


@pytest.mark.parametrize("statement", STATEMENTS, ids=str)
def test_statements_are_refused(statement: Any, events: Events, sync_sessions: sessionmaker[Session]) -> None:
    with sync_sessions() as session:
        with pytest.raises(BulkChangeRefused, match=r"Contact emits events, and an? (INSERT|UPDATE|DELETE) of its"):
            session.execute(statement)
        with pytest.raises(BulkChangeRefused, match=r"execution_options\(emits=False\)"):
            session.connection().execute(statement)
        session.add(Contact(email="a@example.org"))
        session.commit()  # nothing was sent, and the session is as it was
        assert rows(session) == ["a@example.org"]
        with pytest.raises(BulkChangeRefused):
            session.execute(statement)


@pytest.mark.parametrize("statement", STATEMENTS, ids=str)
async def test_statements_pass_if_they_are_meant(
    statement: Any, events: Events, sync_sessions: sessionmaker[Session], told: Told
) -> None:
    with sync_sessions() as session:
        session.execute(statement.execution_options(emits=False))
        session.rollback()
        session.execute(statement, execution_options={"emits": False})
        session.rollback()
        with without_events():
            session.execute(statement)
        session.rollback()
        session.execute(insert(Contact), [ROW], execution_options={"emits": False})
        session.rollback()
        with pytest.raises(BulkChangeRefused):
            session.execute(statement)
    assert await told() == []


@pytest.mark.parametrize("bulk", BULK)
@pytest.mark.parametrize("flushed_before", [False, True])
async def test_bulk_methods_are_refused(
    bulk: Callable[[Session], Any], flushed_before: bool, events: Events, sync_sessions: sessionmaker[Session]
) -> None:
    with sync_sessions() as session:
        if flushed_before:
            session.add(Contact(email="a@example.org"))
            session.flush()
            session.get_one(Contact, session.scalars(select(Contact.id)).one()).email = "a@example.org"
            session.flush()  # announced, with nothing to do
        with pytest.raises(BulkChangeRefused):
            bulk(session)


async def test_bulk_methods_pass_if_they_are_meant(
    events: Events, sync_sessions: sessionmaker[Session], told: Told
) -> None:
    with sync_sessions() as session:
        with without_events():
            session.bulk_save_objects([Contact(email="bulk@example.org")])
            session.add(Contact(email="quiet@example.org"))
            session.commit()
        session.add(Contact(email="loud@example.org"))
        session.commit()
        assert sorted(rows(session)) == ["bulk@example.org", "loud@example.org", "quiet@example.org"]
    assert [payload["email"] for _, payload in await told()] == ["loud@example.org"]


async def test_a_flush_that_a_hook_refuses_leaves_the_guard_up(
    events: Events, sync_sessions: sessionmaker[Session]
) -> None:
    with sync_sessions() as session:
        sqlalchemy_event.listen(session, "before_flush", refuse := Mock(side_effect=RuntimeError))
        session.add(Contact(email="a@example.org"))
        with pytest.raises(RuntimeError) as kept:
            session.flush()
        with pytest.raises(BulkChangeRefused):
            session.bulk_save_objects([Contact(email="bulk@example.org")])
        assert (refuse.call_count, kept.type) == (1, RuntimeError)


async def test_a_failed_flush_leaves_the_guard_up(events: Events, sync_sessions: sessionmaker[Session]) -> None:
    with sync_sessions() as session:
        session.add(Contact(id=ROW["id"], email=None))  # type: ignore[arg-type]
        with pytest.raises(Exception, match="not-null"):
            session.flush()
        session.rollback()
        with pytest.raises(BulkChangeRefused):
            session.execute(delete(Contact))


def test_the_tables_of_subclasses_are_guarded_and_others_are_not(
    events: Events, sync_sessions: sessionmaker[Session]
) -> None:
    with sync_sessions() as session:
        for table in ("emits_photo", "emits_post"):
            with pytest.raises(BulkChangeRefused, match=r"(Photo|Post) emits events"):
                session.execute(delete(Post.metadata.tables[table]))
        session.execute(delete(Silent))


async def test_async_sessions_are_guarded(events: Events, sessions: Sessions) -> None:
    async with sessions() as session:
        connection = await session.connection()
        with pytest.raises(BulkChangeRefused):
            await connection.execute(delete(Contact))
        with without_events():
            await connection.execute(delete(Contact))
            session.add(Contact(email="quiet@example.org"))
            await session.commit()

        session.add(Contact(email="loud@example.org"))
        await session.commit()

        def bulk(inner: Session) -> None:
            inner.bulk_insert_mappings(Contact, [ROW])  # type: ignore[arg-type]

        with pytest.raises(BulkChangeRefused):
            await session.run_sync(bulk)


def test_without_a_started_instance_nothing_is_written(tables: str, sync_sessions: sessionmaker[Session]) -> None:
    with sync_sessions() as session:
        session.add(Contact(email="a@example.org"))
        with pytest.raises(NotStarted, match=r"A row of Contact has changed .* no Events instance is started"):
            session.commit()
        session.rollback()
        assert rows(session) == []
        with without_events():
            session.add(Contact(email="a@example.org"))
            session.commit()
        assert rows(session) == ["a@example.org"]


async def test_an_operation_that_is_not_told_needs_no_instance(
    stage: Stage, events: Events, sync_sessions: sessionmaker[Session]
) -> None:
    with sync_sessions() as session:
        group = Group(title="friends")
        session.add(group)
        session.commit()
        await events.stop()
        group.title = "enemies"
        session.commit()
        session.delete(group)
        with pytest.raises(NotStarted):
            session.commit()


async def test_of_several_instances_that_of_the_sessions_engine_is_taken(
    stage: Stage, events: Events, sessions: Sessions, sync_sessions: sessionmaker[Session], told: Told
) -> None:
    other = await stage.idle(group="other")
    async with sessions() as session:
        session.add(Contact(email="first@example.org"))
        await session.commit()
    async with other.session() as session:
        session.add(Contact(email="second@example.org"))
        await session.commit()
    with sync_sessions() as plain:
        plain.add(Contact(email="third@example.org"))
        with pytest.raises(NotStarted, match=r"2 Events instances are started .*events.publisher\(session\)"):
            plain.commit()
        plain.rollback()
        events.publisher(plain)  # type: ignore[arg-type]
        plain.add(Contact(email="fourth@example.org"))
        plain.commit()
    assert [payload["email"] for _, payload in await told()] == [
        f"{n}@example.org" for n in ("first", "second", "fourth")
    ]


async def test_a_value_that_the_event_does_not_take_stops_the_flush(
    events: Events, sync_sessions: sessionmaker[Session], told: Told
) -> None:
    with sync_sessions() as session:
        session.add(Note(text=None))
        with pytest.raises(InvalidPayload, match=r"A row of Note cannot be told of by NoteCreated: \$\.text: .*map="):
            session.commit()
        session.rollback()
        session.add(Note(text="a" * 2_000_000))
        with pytest.raises(PayloadTooLarge):
            session.commit()
        session.rollback()
        session.add(Note(text="a"))
        session.commit()
        assert session.scalars(select(Note.text)).all() == ["a"]
    assert await told() == [("note.created", {"text": "a"})]
