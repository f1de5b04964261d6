"""A release replaced by the next one while events flow: two instances of one group with different code."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi_events import Event, Events, HandlerConnection, Module
from tests.delivery.stage import Stage, until

KEYS = 7


class Paid1(Event, name="shop.order.paid", aggregate_id="order"):
    """The payload of release N-1."""

    order: str
    number: int


class Paid2(Event, name="shop.order.paid", version=2, aggregate_id="order"):
    """The payload of release N."""

    order: str
    numbers: list[int]


def paid1(number: int) -> Paid1:
    return Paid1(order=str(number % KEYS), number=number)


def paid2(number: int) -> Paid2:
    return Paid2(order=str(number % KEYS), numbers=[number])


def to_numbers(payload: dict[str, Any]) -> dict[str, Any]:
    return {"order": payload["order"], "numbers": [payload["number"]]}


@dataclass(frozen=True)
class Release:
    """Code as deployed: the handlers that it has (with their effects' names and former ids), and what it publishes."""

    handlers: Sequence[tuple[str, str, tuple[str, ...]]]
    publishes: Callable[[int], Event]
    also: Callable[[int], Event] | None = None

    def module(self) -> Module:
        module, event = Module("shop"), type(self.publishes(0))
        if event is Paid2:
            module.upcast(Paid2, from_version=1)(to_numbers)
        for name, effect, was in self.handlers:
            module.on(event, id=f"shop.{name}", was=was)(handler(effect))
        return module


def handler(name: str) -> Any:
    """A transactional handler of either version."""

    async def handle(event: Any, connection: HandlerConnection) -> None:
        number = event.number if isinstance(event, Paid1) else event.numbers[0]
        await connection.execute("INSERT INTO effect (handler, number) VALUES ($1, $2)", name, number)

    return handle


CHARGE = ("charge", "charge", ())
MAIL = ("mail", "mail", ())
CHANGES = {
    "a handler is added": (Release([CHARGE], paid1), Release([CHARGE, MAIL], paid1)),
    "a handler is removed": (Release([CHARGE, MAIL], paid1), Release([CHARGE], paid1)),
    "a handler is renamed": (Release([CHARGE], paid1), Release([("take", "charge", ("shop.charge",))], paid1)),
    "the payload changes": (Release([CHARGE], paid1), Release([CHARGE], paid2)),
    "the payload changes, with dual publish": (Release([CHARGE], paid1), Release([CHARGE], paid2, also=paid1)),
}


@dataclass
class Rollout:
    """One change on its way, in waves of ``size`` events; remembers which effects have to be there."""

    stage: Stage
    change: str
    size: int
    number: int = 0
    wanted: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    began: float = field(default_factory=time.monotonic)

    @property
    def releases(self) -> tuple[Release, Release]:
        return CHANGES[self.change]

    async def publish(self, *publishers: tuple[Events, Release], to: Sequence[str]) -> None:
        """A wave from these instances in turn: one key's events are published one after the other."""
        first = self.number
        for start in range(0, self.size, KEYS):
            events, release = publishers[start // KEYS % len(publishers)]
            async with events.session() as session:
                publisher = events.publisher(session)
                for _ in range(min(KEYS, self.size - start)):
                    also = release.also(self.number) if release.also else None
                    await publisher(release.publishes(self.number), also=also)
                    self.number += 1
                await session.commit()
        for name in to:
            self.wanted.setdefault(name, set()).update(range(first, self.number))

    async def settled(self) -> None:
        """Wait until every effect is there, and look that nothing happened twice, out of order, or died."""
        wanted = sum(map(len, self.wanted.values()))

        async def complete() -> bool:
            return bool(await self.stage.value("SELECT count(*) FROM effect") >= wanted)

        await until(complete, f"{wanted} effects ({self.change})", 120)
        rows = await self.stage.rows(
            "SELECT handler, number % $1 AS key, array_agg(number ORDER BY written) AS numbers FROM effect "
            "GROUP BY 1, 2", KEYS,
        )  # fmt: skip
        for row in rows:
            assert row["numbers"] == sorted(set(row["numbers"])), f"{row['handler']}, key {row['key']}"
        found = {row["handler"]: set[int]() for row in rows}
        for row in rows:
            found[row["handler"]] |= set(row["numbers"])
        assert found == self.wanted
        assert await self.stage.deliveries("dead") == []
        await until(self.nothing_waits, "no delivery to wait")

    async def nothing_waits(self) -> bool:
        return not await self.stage.deliveries("waiting")

    async def waiting(self) -> int:
        """How many deliveries wait for a process that has the handler, or reads the version, and behind them."""
        rows = await self.stage.deliveries("waiting")
        assert {row["reason"] for row in rows} <= {"no_handler", "key_blocked"}
        assert {row["attempts"] for row in rows} <= {0}
        return len(rows)
