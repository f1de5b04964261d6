"""The application whose events are delivered: four handlers that do what their script says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastapi_events import (
    DeadLetter,
    Delivery,
    Discard,
    Event,
    HandlerConnection,
    HandlerSession,
    Module,
    Retry,
    RetryLater,
    fixed,
)
from tests.properties.connections import EFFECT

if TYPE_CHECKING:
    from tests.properties.world import Process

Act = Literal["succeed", "fail", "fail late", "later", "die", "discard", "hang"]
ACTS: tuple[Act, ...] = ("succeed", "fail", "fail late", "later", "die", "discard", "hang")

PARTITIONS = 2
BACKOFF, LATER, TIMEOUT, MAX_ATTEMPTS = 40.0, 30.0, 200.0, 2


class Placed(Event, name="property.order.placed", aggregate_id="order"):
    """One kind of event with an ordering key."""

    order: str
    number: int


class Shipped(Event, name="property.order.shipped", aggregate_id="order"):
    """Another kind, of the same keys."""

    order: str
    number: int


@dataclass(frozen=True)
class Rules:
    """What a handler has declared."""

    takes: type[Event]
    transactional: bool
    ordered: bool
    parks: bool


HANDLERS: dict[str, Rules] = {
    "pay": Rules(Placed, transactional=True, ordered=True, parks=True),
    "mail": Rules(Placed, transactional=False, ordered=True, parks=False),
    "pack": Rules(Shipped, transactional=False, ordered=True, parks=True),
    "note": Rules(Shipped, transactional=True, ordered=False, parks=False),
}


def key_of(order: str) -> str:
    """The ordering key of an order's events, as it is stored."""
    return f"/order/{order}"


class Broken(Exception):
    """What a handler fails with."""


def module_for(process: Process) -> Module:
    """The handlers of one process."""
    module, again = Module("property"), Retry(MAX_ATTEMPTS, fixed(BACKOFF, jitter=False))

    @module.on(Placed, id="pay", retry=again, timeout=TIMEOUT)
    async def pay(event: Placed, connection: HandlerConnection, delivery: Delivery) -> None:
        async def effect() -> None:
            await connection.execute(EFFECT, "pay", event.number, process.name)

        await _act(process, "pay", event.number, delivery, effect)

    @module.on(Placed, id="mail", retry=again, timeout=TIMEOUT, on_dead="continue")
    async def mail(event: Placed, delivery: Delivery) -> None:
        await _act(process, "mail", event.number, delivery)

    @module.on(Shipped, id="pack", retry=again, timeout=TIMEOUT)
    async def pack(event: Shipped, delivery: Delivery) -> None:
        await _act(process, "pack", event.number, delivery)

    @module.on(Shipped, id="note", retry=again, timeout=TIMEOUT, ordered=False)
    async def note(event: Shipped, session: HandlerSession, delivery: Delivery) -> None:
        async def effect() -> None:
            connection = await session.connection()
            await connection.exec_driver_sql(EFFECT, ("note", event.number, process.name))

        await _act(process, "note", event.number, delivery, effect)

    return module


async def _act(process: Process, handler: str, number: int, delivery: Delivery, effect: Any = None) -> None:
    attempt = process.world.begins(process, handler, number, delivery)
    act = process.world.next_act(handler)
    if act == "hang":
        act = await process.world.hang(attempt)
    if effect is not None and act in ("succeed", "fail late"):
        await effect()
    attempt.act = act
    match act:
        case "fail" | "fail late":
            raise Broken(f"{handler} of {number}")
        case "later":
            raise RetryLater(LATER)
        case "die":
            raise DeadLetter("asked for")
        case "discard":
            raise Discard("asked for")
        case _:
            return
