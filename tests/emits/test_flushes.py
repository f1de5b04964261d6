"""What is flushed through a session becomes events of its transaction, one for each row."""

from uuid import UUID

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, selectinload, sessionmaker

from fastapi_events import Event, Events
from tests.emits.book import Card, Contact, Group, Member, Photo, Post, Silent
from tests.emits.conftest import Sessions, Told

pytestmark = pytest.mark.usefixtures("events")


class Invited(Event, name="book.contact.invited", aggregate_id="id"):
    id: UUID


async def saved(sessions: Sessions, *rows: object) -> None:
    async with sessions() as session:
        session.add_all(rows)
        await session.commit()


async def forget(events: Events) -> None:
    """Begin with an empty log."""
    async with events.session() as session:
        connection = await session.connection()
        await connection.exec_driver_sql("DELETE FROM events.event")
        await session.commit()


async def test_a_row_is_told_of_when_it_is_inserted_updated_and_deleted(sessions: Sessions, told: Told) -> None:
    contact = Contact(email="a@example.org")
    async with sessions() as session:
        session.add(contact)
        await session.commit()
        contact.email, contact.name = "b@example.org", "B"
        await session.commit()
        await session.delete(contact)
        await session.commit()
    key = str(contact.id)
    assert await told() == [
        ("contact.created", {"id": key, "email": "a@example.org"}),
        (
            "contact.updated",
            {
                "id": key,
                "email": "b@example.org",
                "changes": {
                    "email": {"from": "a@example.org", "to": "b@example.org"},
                    "name": {"from": None, "to": "B"},
                },
            },
        ),
        ("contact.deleted", {"id": key, "email": "b@example.org"}),
    ]


def test_a_plain_session_tells_too(sync_sessions: sessionmaker[Session], events: Events) -> None:
    with sync_sessions() as session:
        session.add(Contact(email="a@example.org"))
        session.commit()
        [count] = session.connection().exec_driver_sql("SELECT count(*) FROM events.event").one()
        assert count == 1


async def test_nothing_is_told_of_what_is_rolled_back(sessions: Sessions, told: Told) -> None:
    async with sessions() as session:
        session.add(Contact(email="a@example.org"))
        await session.flush()
        await session.rollback()
        session.add(Contact(email="b@example.org"))
        await session.commit()
    assert [payload["email"] for _, payload in await told()] == ["b@example.org"]


async def test_rows_that_are_never_committed_are_no_lost_events(
    sessions: Sessions, told: Told, caplog: pytest.LogCaptureFixture, events: Events
) -> None:
    async with sessions() as session:
        session.add(Contact(email="a@example.org"))
        await session.flush()
    assert await told() == []
    assert (caplog.messages, events.publishing.counts) == ([], {})


async def test_a_savepoint_that_is_rolled_back_takes_what_was_flushed_in_it(sessions: Sessions, told: Told) -> None:
    async with sessions() as session:
        session.add(Contact(email="outer@example.org"))
        savepoint = await session.begin_nested()  # flushes the outer one first, outside the savepoint
        session.add(Contact(email="inner@example.org"))
        await session.flush()
        await savepoint.rollback()
        async with session.begin_nested():
            session.add(Contact(email="kept@example.org"))
        await session.commit()
    assert [payload["email"] for _, payload in await told()] == ["outer@example.org", "kept@example.org"]


async def test_a_savepoint_that_is_rolled_back_leaves_what_was_told_before(sessions: Sessions, told: Told) -> None:
    contact = Contact(email="first@example.org")
    async with sessions() as session:
        session.add(contact)
        await session.flush()
        savepoint = await session.begin_nested()
        contact.email = "second@example.org"
        await session.flush()
        await savepoint.rollback()
        await session.commit()
    assert [payload["email"] for _, payload in await told()] == ["first@example.org"]


async def test_a_row_inserted_and_updated_is_created_with_its_last_values(sessions: Sessions, told: Told) -> None:
    contact = Contact(email="first@example.org")
    async with sessions() as session:
        session.add(contact)
        await session.flush()
        contact.email = "second@example.org"
        await session.flush()
        async with session.begin_nested():
            contact.email = "third@example.org"
        await session.commit()
    assert await told() == [("contact.created", {"id": str(contact.id), "email": "third@example.org"})]


async def test_a_row_inserted_and_deleted_has_never_been(sessions: Sessions, told: Told) -> None:
    contact = Contact(email="first@example.org")
    async with sessions() as session:
        session.add(contact)
        await session.flush()
        await session.delete(contact)
        await session.commit()
    assert await told() == []


async def test_a_row_updated_twice_is_told_of_once(sessions: Sessions, told: Told, events: Events) -> None:
    contact = Contact(email="first@example.org")
    await saved(sessions, contact)
    await forget(events)
    async with sessions() as session:
        contact = await session.merge(contact)
        contact.email = "second@example.org"
        await session.flush()
        contact.email, contact.name = "third@example.org", "third"
        await session.flush()
        contact.name = None
        await session.commit()
    [(name, payload)] = await told()
    assert (name, payload["changes"]) == (
        "contact.updated",
        {"email": {"from": "first@example.org", "to": "third@example.org"}},
    )


async def test_a_row_that_is_as_it_was_is_not_told_of(sessions: Sessions, told: Told, events: Events) -> None:
    contact = Contact(email="first@example.org")
    await saved(sessions, contact)
    await forget(events)
    async with sessions() as session:
        contact = await session.merge(contact)
        contact.email = "first@example.org"
        await session.flush()
        contact.email = "second@example.org"
        await session.flush()
        contact.email = "first@example.org"
        await session.commit()
    assert await told() == []


async def test_a_row_updated_and_deleted_is_only_deleted(sessions: Sessions, told: Told, events: Events) -> None:
    contact = Contact(email="first@example.org")
    await saved(sessions, contact)
    await forget(events)
    async with sessions() as session:
        contact = await session.merge(contact)
        contact.email = "second@example.org"
        await session.flush()
        await session.delete(contact)
        await session.commit()
    assert await told() == [("contact.deleted", {"id": str(contact.id), "email": "second@example.org"})]


async def test_another_row_under_the_same_key_is_another_life(sessions: Sessions, told: Told, events: Events) -> None:
    """Also where SQLAlchemy makes one UPDATE of both."""
    first = Contact(email="first@example.org")
    await saved(sessions, first)
    await forget(events)
    async with sessions() as session:
        first = await session.merge(first)
        await session.delete(first)
        session.add(Contact(id=first.id, email="second@example.org"))
        await session.commit()
    assert [(name, payload["email"]) for name, payload in await told()] == [
        ("contact.deleted", "first@example.org"),
        ("contact.created", "second@example.org"),
    ]
    async with sessions() as session:
        second = await session.get_one(Contact, first.id)
        await session.delete(second)
        await session.flush()
        session.add(Contact(id=first.id, email="third@example.org"))
        await session.commit()
    assert [(name, payload["email"]) for name, payload in (await told())[2:]] == [
        ("contact.deleted", "second@example.org"),
        ("contact.created", "third@example.org"),
    ]


async def test_what_was_not_loaded_is_told_of_with_what_was_there(
    sessions: Sessions, told: Told, events: Events
) -> None:
    contact = Contact(email="first@example.org", name="first")
    await saved(sessions, contact)
    await forget(events)
    async with sessions() as session:
        contact = await session.merge(contact)
        session.expire(contact)
        contact.email, contact.name = "first@example.org", "second"  # set, and never read
        await session.commit()
        session.expire(contact)
        contact.name = "second"
        await session.commit()
        session.expire(contact)
        await session.delete(contact)
        await session.commit()
    assert [(name, payload.get("changes")) for name, payload in await told()] == [
        ("contact.updated", {"name": {"from": "first", "to": "second"}}),
        ("contact.deleted", None),
    ]


async def test_keys_and_defaults_that_the_database_makes_are_there(sessions: Sessions, told: Told) -> None:
    group = Group(title="friends", members=[Member(name="a"), Member(name="b")])
    await saved(sessions, group)
    [created, *members] = await told()
    assert created[0] == "group.created"
    assert (created[1]["id"], created[1]["made_at"]) == (group.id, group.made_at.isoformat())
    assert members == [("member.created", {"id": each.id, "group_id": group.id}) for each in group.members]


async def test_sql_expressions_are_told_of_with_their_values(sessions: Sessions, told: Told, events: Events) -> None:
    member = Member(name="a")
    await saved(sessions, member)
    await forget(events)
    async with sessions() as session:
        member = await session.merge(member)
        member.visits = Member.visits + 2
        await session.commit()
    [(_, payload)] = await told()
    assert (payload["visits"], payload["changes"]) == (2, {"visits": {"from": 0, "to": 2}})


async def test_an_ignored_column_says_nothing(sessions: Sessions, told: Told, events: Events) -> None:
    member = Member(name="a")
    await saved(sessions, member)
    await forget(events)
    async with sessions() as session:
        member = await session.merge(member)
        member.seen = 1
        await session.commit()
        assert await told() == []
        member.seen, member.name = 2, "b"
        await session.commit()
    [(_, payload)] = await told()
    assert (payload["label"], payload["changes"]) == ("<b>", {"name": {"from": "a", "to": "b"}})


async def test_keys_documents_and_deferred_columns_that_change(sessions: Sessions, told: Told) -> None:
    await saved(sessions, Card(number=1, data={"a": 1}, shown="one"))
    async with sessions() as session:
        card = await session.get_one(Card, 1)
        card.number = 2
        await session.flush()
        card.data["b"] = 2  # in place: SQLAlchemy keeps nothing of what was there
        card.shown = "two"
        await session.commit()
        card.data["b"] = 2
        await session.commit()
    assert await told() == [
        (
            "card.updated",
            {
                "number": 2,
                "changes": {
                    "number": {"from": 1, "to": 2},
                    "data": {"from": {"a": 1}, "to": {"a": 1, "b": 2}},
                    "shown": {"from": "one", "to": "two"},
                },
            },
        )
    ]


async def test_ignored_columns_are_up_to_date_in_what_is_told(sessions: Sessions, told: Told) -> None:
    async with sessions() as session:
        post = Post(body="one")
        session.add(post)
        await session.flush()
        post.views = 2
        await session.commit()
        post.views = 3
        await session.commit()
    assert [(name, payload["views"]) for name, payload in await told()] == [("post.saved", 2)]


async def test_a_relationship_is_told_of_where_its_column_is(sessions: Sessions, told: Told, events: Events) -> None:
    group, member = Group(title="friends"), Member(name="a")
    await saved(sessions, group, member)
    await forget(events)
    async with sessions() as session:
        group = await session.get_one(Group, group.id, options=[selectinload(Group.members)])
        group.members.append(await session.get_one(Member, member.id))
        await session.commit()
    [(name, payload)] = await told()
    assert (name, payload["changes"]) == ("member.updated", {"group_id": {"from": None, "to": group.id}})


async def test_what_a_delete_takes_along_is_told_of(sessions: Sessions, told: Told, events: Events) -> None:
    group = Group(title="friends", members=[Member(name="a"), Member(name="orphan"), Member(name="b")])
    await saved(sessions, group)
    await forget(events)
    async with sessions() as session:
        group = await session.get_one(Group, group.id, options=[selectinload(Group.members)])
        group.members.remove(group.members[1])
        await session.commit()
        assert [payload.get("label") for _, payload in await told()] == ["<orphan>"]
        await session.delete(group)
        await session.commit()
    assert sorted((await told.names())[1:]) == ["group.deleted", "member.deleted", "member.deleted"]


async def test_subclasses_tell_as_their_base_does(sessions: Sessions, told: Told) -> None:
    photo = Photo(body="one two")
    async with sessions() as session:
        session.add_all([Post(body=None), photo])
        await session.commit()
        photo.width = 5
        await session.commit()
        await session.delete(photo)
        await session.commit()
    assert [(name, payload.get("words")) for name, payload in await told()] == [
        ("post.saved", 0),
        ("post.saved", 2),
        ("post.saved", 2),
        ("post.gone", None),
    ]


async def test_events_stand_where_their_row_was_flushed_first(sessions: Sessions, told: Told, events: Events) -> None:
    async with sessions() as session:
        publish = events.publisher(session)
        one, two = Contact(email="one@example.org"), Contact(email="two@example.org")
        session.add(one)
        await session.flush()
        await publish(Invited(id=one.id))
        one.name = "One"
        session.add(two)
        await session.commit()
    assert await told.names() == ["contact.created", "contact.invited", "contact.created"]


async def test_an_event_with_an_id_of_its_own_does_not_hasten_them(
    sessions: Sessions, told: Told, events: Events
) -> None:
    async with sessions() as session:
        publish = events.publisher(session)
        contact = Contact(email="one@example.org")
        session.add(contact)
        await session.flush()
        assert not (await publish(Invited(id=contact.id), event_id=UUID(int=7))).duplicate
        assert (await publish(Invited(id=contact.id), event_id=UUID(int=7))).duplicate
        contact.email = "two@example.org"
        await session.commit()
    assert [(name, payload.get("email")) for name, payload in await told()] == [
        ("contact.invited", None),
        ("contact.created", "two@example.org"),
    ]


async def test_classes_that_declare_nothing_say_nothing(sessions: Sessions, told: Told) -> None:
    silent = Silent(name="a")
    async with sessions() as session:
        session.add(silent)
        await session.commit()
        await (await session.connection()).execute(update(Silent).values(name="b"))
        await session.commit()
    assert await told() == []


async def test_sessions_of_sqlalchemys_own_class(events: Events, engine: object, told: Told) -> None:
    async with AsyncSession(engine, expire_on_commit=True) as session:  # type: ignore[arg-type]
        contact = Contact(email="a@example.org")
        session.add(contact)
        await session.commit()
        contact.name = "A"  # expired: what was there is read when it is flushed
        await session.commit()
    assert await told.names() == ["contact.created", "contact.updated"]
