"""A small shop to publish from, and a stand-in for the composition root that has a real log behind it."""

from collections.abc import Collection
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from fastapi_events.model.envelope import PublishRules
from fastapi_events.model.event import Event
from fastapi_events.model.lane import PLACES_PER_LANE, LogPlace
from fastapi_events.model.registry import Registry
from fastapi_events.store.log import DatabaseIdentity, EventLog
from fastapi_events.store.statements import Statements


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "publishing_item"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")


class Part(Base):
    """Its foreign key is checked by COMMIT only."""

    __tablename__ = "publishing_part"
    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int] = mapped_column(ForeignKey("publishing_item.id", deferrable=True, initially="DEFERRED"))


class Noted(Event, name="shop.item.noted"):
    number: int


class Sold(Event, name="shop.item.sold", aggregate_id="item"):
    item: int
    number: int = 0


class Counted(Event, name="shop.item.counted", aggregate_id="item", serialize=True):
    item: int
    number: int = 0


class Shipped(Event, name="shop.item.shipped", direction="outbound"):
    number: int


class Port:
    """What publishers need of an instance; remembers what it is told."""

    def __init__(self) -> None:
        self.rules = PublishRules()
        self.middleware = None
        self.log = EventLog(Statements())
        self.registry = Registry([])
        self.notify: Literal["after_commit", "transactional", "off"] = "after_commit"
        self.channel = "shop_events"
        self.database: DatabaseIdentity | None = None
        self.woken: list[set[int]] = []
        self.counted: dict[str, int] = {}

    def committed(self, places: Collection[LogPlace]) -> None:
        self.woken.append({place // PLACES_PER_LANE for place in places})

    def count(self, what: str, number: int = 1) -> None:
        self.counted[what] = self.counted.get(what, 0) + number


class Log:
    """What is committed, as another connection sees it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def rows(self) -> list[Any]:
        return await self._connection.fetch("SELECT * FROM events.event ORDER BY position")

    async def numbers(self) -> list[int]:
        return [int(row["number"]) for row in await self._connection.fetch(_NUMBERS)]

    async def ids(self) -> list[UUID]:
        return [UUID(str(row["id"])) for row in await self.rows()]

    async def items(self) -> list[int]:
        return [row["id"] for row in await self._connection.fetch("SELECT id FROM publishing_item ORDER BY id")]

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        return await self._connection.fetch(query, *arguments)


_NUMBERS = "SELECT payload->>'number' AS number FROM events.event ORDER BY position"
