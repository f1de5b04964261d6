"""The keywords of an event's class. pyright refuses each line marked so, and no other; mypy takes them all.

mypy leaves the keywords of classes with a metaclass of their own alone. What is wrong here is refused at import too,
see tests/model.
"""

from abc import ABC
from typing import Generic, TypeVar

from pydantic import BaseModel, Field
from sqlmodel import Field as Column
from sqlmodel import SQLModel

from fastapi_events import EmitsEvents, Event, Retry

T = TypeVar("T")


class Fine(Event, name="a.b.c", version=2, direction="change", tier="domain", aggregate="b", aggregate_id="order"):
    order: int
    note: str = Field(default="", alias="remark")


class FineToo(
    Event, name="a.b.d", retry=Retry(2), description="x", serialize=True, key="order", lane=None, extra="allow"
):
    order: int


class Abstract(Event):
    order: int


class Mixin(BaseModel):
    sku: str


class Mixed(Abstract, Mixin, name="a.b.e"): ...


class MixedToo(Mixin, Abstract, ABC, name="a.b.f"): ...


class Of(Event, Generic[T], name="a.b.g"):
    value: T


class Misspelt(Event, name="a.b.h", agregate_id="order"):  # wrong
    order: int


class OfAnotherType(Event, name="a.b.i", version="2"):  # wrong
    order: int


class OfNoVersion(Event, name="a.b.l", version=2, oldest_version=None):  # wrong
    order: int


class OfNoKnownDirection(Event, name="a.b.j", direction="up"):  # wrong
    order: int


class MisspeltBelow(Abstract, nam="a.b.k"):  # wrong
    sku: str


class Rows(EmitsEvents, SQLModel, table=True, emits=(Fine,)):
    id: int = Column(primary_key=True)


class RowsOfNoTuple(EmitsEvents, SQLModel, table=True, emits=Fine):  # wrong
    id: int = Column(primary_key=True)


class RowsOfNoEvent(EmitsEvents, SQLModel, table=True, emits=(BaseModel,)):  # wrong
    id: int = Column(primary_key=True)


def model(event: BaseModel) -> str:
    return event.model_dump_json()


model(Fine(order=1, remark="x"))
Mixed(order=1, sku="a")
MixedToo(order=1, sku="a")
number: int = Of(value=3).value
classes: dict[type[Event], set[type[Event]]] = {Fine: {Mixed, FineToo}}
assert hash(Fine) != hash(Mixed)
assert isinstance(Fine, type)
assert Fine.model_validate({"order": 1}) == Fine(order=1).model_copy()
fields: list[str] = [*Fine.model_fields]
