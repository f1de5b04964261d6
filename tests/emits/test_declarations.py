"""What a class says of its events is checked when the class is made, and what is wrong is named with its mend."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry, relationship
from sqlmodel import Field, MetaData, SQLModel

from fastapi_events import EmitsEvents, Event, emits
from fastapi_events.errors import ContradictoryOptions, DeclarationError, UnknownOption


class ThingCreated(Event, name="things.thing.created"):
    id: UUID


class ThingUpdated(Event, name="things.thing.updated"):
    id: UUID
    changes: dict[str, Any]


class ThingMade(Event, name="things.thing.made"):
    id: UUID


class ThingBuilt(Event, name="things.built.created"):
    id: UUID


class ThingLabelled(Event, name="things.thing_label.created"):
    id: UUID
    lable: str


class Abstract(Event):
    id: UUID


def table(given: Any, **columns: Any) -> type[Any]:
    """A table class of its own with this keyword."""

    class Model(SQLModel, registry=registry()):
        metadata = MetaData()

    class Thing(EmitsEvents, Model, table=True, emits=given):
        id: UUID = Field(default_factory=uuid4, primary_key=True)
        label: str = ""

    return Thing


def plain(declared: Any) -> Any:
    class Base(DeclarativeBase):
        pass

    @declared
    class Thing(Base):
        __tablename__ = "thing"
        id: Mapped[UUID] = mapped_column(primary_key=True)
        label: Mapped[str]

    return Thing


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((ThingMade,), DeclarationError, r"ThingMade is named 'things.thing.made', .*emits\(created=ThingMade\)"),
        ((ThingCreated, ThingBuilt), ContradictoryOptions, "both ThingCreated and ThingBuilt .* created"),
        ((), DeclarationError, "no event is given"),
        (ThingCreated, DeclarationError, "class Thing: emits=.* is no tuple of events"),
        (("things.thing.created",), DeclarationError, "is no event"),
        ((Abstract,), DeclarationError, "Abstract has no name="),
        (
            (ThingLabelled,),
            DeclarationError,
            r"Thing has no attribute 'lable' for the field of ThingLabelled.*Did you mean 'label'\?.*map=",
        ),
    ],
)
def test_what_cannot_work_is_refused_when_the_class_is_made(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        table(given)


def test_the_keyword_takes_events_of_any_name() -> None:
    table(emits(created=ThingMade, updated=ThingUpdated))
    table((ThingUpdated, ThingCreated))
    table([ThingCreated])


def test_a_table_that_says_no_events_is_refused() -> None:
    with pytest.raises(DeclarationError, match=r"class Lonely is a table with EmitsEvents and says no events"):

        class Lonely(EmitsEvents, table=True):
            metadata = MetaData()
            id: UUID = Field(primary_key=True)


def test_a_class_that_is_no_table_is_refused() -> None:
    with pytest.raises(DeclarationError, match="Model emits events, but it is mapped to no table"):

        class Model(EmitsEvents, emits=(ThingCreated,)):
            id: UUID

    with pytest.raises(DeclarationError, match="mapped to no table"):
        emits(ThingCreated)(object)


def test_ignored_columns_and_map_are_checked() -> None:
    with pytest.raises(UnknownOption, match=r"ignore='lable' names no column. Did you mean 'label'\?"):
        plain(emits(ThingCreated, ignore=["lable"]))
    with pytest.raises(DeclarationError, match=r"ignore=\['label'\]"):
        emits(ThingCreated, ignore="label")
    with pytest.raises(DeclarationError, match="is not callable"):
        emits(ThingCreated, map={"id": 1})  # type: ignore[arg-type]
    plain(emits(ThingLabelled, map=lambda thing: {"lable": thing.label}))


def test_a_column_that_is_called_changes_is_ambiguous() -> None:
    class Base(DeclarativeBase):
        pass

    with pytest.raises(ContradictoryOptions, match="has an attribute of that name"):

        @emits(ThingUpdated)
        class Thing(Base):
            __tablename__ = "thing"
            id: Mapped[UUID] = mapped_column(primary_key=True)
            changes: Mapped[str]


def test_a_relationship_fills_no_field_and_its_class_may_come_later() -> None:
    class Base(DeclarativeBase):
        pass

    class WithLater(Event, name="things.later.created"):
        later: list[int]

    with pytest.raises(DeclarationError, match="no attribute 'later'"):

        @emits(WithLater)
        class Thing(Base):
            __tablename__ = "thing"
            id: Mapped[UUID] = mapped_column(primary_key=True)
            later: Mapped[list["NotThereYet"]] = relationship()  # type: ignore[name-defined]  # noqa: F821
