"""An address book: contacts of SQLModel, and plain SQLAlchemy classes beside them."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

from sqlalchemy import ForeignKey, MetaData, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlmodel import Field, SQLModel

from fastapi_events import EmitsEvents, Event, emits

metadata = MetaData()


class ContactCreated(Event, name="book.contact.created", aggregate_id="id"):
    id: UUID
    email: str


class ContactUpdated(Event, name="book.contact.updated", aggregate_id="id"):
    id: UUID
    email: str
    changes: dict[str, Any]


class ContactDeleted(Event, name="book.contact.deleted", aggregate_id="id"):
    id: UUID
    email: str


class Book(SQLModel):
    metadata = metadata


class Contact(EmitsEvents, Book, table=True, emits=(ContactCreated, ContactUpdated, ContactDeleted)):
    __tablename__ = "emits_contact"
    id: UUID = Field(default_factory=uuid4, primary_key=True)
    email: str
    name: str | None = None


class Base(DeclarativeBase):
    pass


class GroupCreated(Event, name="book.group.created", aggregate_id="id"):
    id: int
    title: str
    made_at: datetime


class GroupDeleted(Event, name="book.group.deleted", aggregate_id="id"):
    id: int
    title: str


class MemberCreated(Event, name="book.member.created", aggregate_id="id"):
    id: int
    group_id: int | None


class MemberUpdated(Event, name="book.member.updated", aggregate_id="id"):
    id: int
    label: str
    group_id: int | None
    visits: int
    changes: dict[str, Any]


class MemberDeleted(Event, name="book.member.deleted", aggregate_id="id"):
    id: int
    label: str


@emits(GroupCreated, GroupDeleted)
class Group(Base):
    """Its key and its date are made by the database."""

    __tablename__ = "emits_group"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(server_default=func.now())
    members: Mapped[list["Member"]] = relationship(back_populates="group", cascade="all, delete-orphan")


@emits(MemberDeleted, MemberUpdated, MemberCreated, ignore=["seen"])
class Member(Base):
    __tablename__ = "emits_member"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    group_id: Mapped[int | None] = mapped_column(ForeignKey("emits_group.id", ondelete="CASCADE"))
    visits: Mapped[int] = mapped_column(default=0)
    seen: Mapped[int] = mapped_column(default=0)
    group: Mapped[Group | None] = relationship(back_populates="members")

    @hybrid_property
    def label(self) -> str:
        return f"<{self.name}>"


class PostSaved(Event, name="book.post.saved", aggregate_id="id"):
    id: int
    kind: str
    words: int
    views: int


class PostGone(Event, name="book.post.gone", aggregate_id="id"):
    id: int


@emits(
    created=PostSaved,
    updated=PostSaved,
    deleted=PostGone,
    map=lambda post: {"words": len((post.body or "").split())},
    ignore=["views"],
)
class Post(Base):
    """With subclasses in tables of their own, and in this one."""

    __tablename__ = "emits_post"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    body: Mapped[str | None]
    views: Mapped[int] = mapped_column(default=0)
    __mapper_args__: ClassVar = {"polymorphic_on": "kind", "polymorphic_identity": "post"}


class Photo(Post):
    __tablename__ = "emits_photo"
    id: Mapped[int] = mapped_column(ForeignKey("emits_post.id"), primary_key=True)
    width: Mapped[int] = mapped_column(default=1)
    __mapper_args__: ClassVar = {"polymorphic_identity": "photo"}


class NoteCreated(Event, name="book.note.created"):
    text: str


@emits(NoteCreated)
class Note(Base):
    """May hold what its event does not take."""

    __tablename__ = "emits_note"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str | None]


class CardUpdated(Event, name="book.card.updated", aggregate_id="number"):
    number: int
    changes: dict[str, Any]


@emits(CardUpdated)
class Card(Base):
    """Its key may change, a document in it changes in place, and a column is called otherwise than its attribute."""

    __tablename__ = "emits_card"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    data: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSONB))
    shown: Mapped[str] = mapped_column("label", deferred=True)


class Silent(Base):
    """Says nothing."""

    __tablename__ = "emits_silent"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
