"""An application with every way to make and to take an event, and rows as if it had run."""

from __future__ import annotations

from typing import Any

import asyncpg

from fastapi_events.model.outcome import Failure
from tests.dashboard.seeding import Seeded, Seeding

APP = "bakery.events:events"
LISTENING = "listening:events"
"""One with broadcast handlers."""
FILES = {
    "bakery/__init__.py": "",
    "bakery/contracts/__init__.py": "from .orders import Cake, Placed as OrderPlaced\n",
    "bakery/contracts/orders.py": '''from pydantic import SecretStr

from fastapi_events import Event


class Cake(Event, name="bakery.cake.baked", aggregate_id="cake"):
    """A cake has been baked.

    It is still warm.
    """

    cake: int
    sugar: int = 3


class NewCake(Event, name="bakery.cake.baked", version=2):
    cake: str


class Placed(Event, name="bakery.order.placed", aggregate_id="order"):
    order: int


class Paid(Event, name="bakery.order.paid"):
    order: int
    mark: SecretStr


class Seen(Event, name="bakery.page.seen", tier="audit"):
    page: str
''',
    "bakery/other.py": "class Placed:\n    def __init__(self, **given): pass\n",
    "bakery/makers.py": """import bakery.contracts.orders
from bakery import contracts, other
from bakery.contracts import *
from bakery.contracts import OrderPlaced as Ordered
from bakery.contracts.orders import Placed
from .contracts import orders as by_module

Renamed = Placed


async def by_alias(publish):
    await publish(Ordered(order=1))


async def by_star(publish):
    await publish.many([OrderPlaced(order=1), by_module.Placed(order=2)])


def by_path():
    return bakery.contracts.orders.Placed.model_validate({"order": 3})


class Maker:
    def make(self):
        from bakery.contracts.orders import Placed as Inner

        return Renamed(order=4), Inner(order=5), contracts.OrderPlaced(order=6)


async def raw(publish):
    await publish.raw("bakery.order.placed", {"order": 7})
    await publish.raw("bakery.cake.baked", {"cake": 7})


def not_ours():
    return other.Placed(order=8), contracts.Cake(cake=1), Placed
""",
    "bakery/broken.py": "this is no Python\n",
    "bakery/events.py": """from fastapi_events import Events, Module, Retry
from bakery.contracts.orders import Cake, NewCake, Paid, Placed, Seen

bakery = Module("bakery")
events = Events(modules=[bakery])


@bakery.on(Placed, retry=Retry(2))
async def bake(event: Placed) -> None: ...


@bakery.on("bakery.order.placed", id="bakery.by_name")
async def by_name(event: object) -> None: ...


@bakery.on("bakery.order.*", on_dead="continue")
async def note(event: object) -> None: ...


@bakery.on(Cake)
async def eat(event: Cake) -> None: ...
""",
    "listening.py": """from fastapi_events import Event, Events, RawEvent


class Failed(Event, name="auth.login.failed", tier="audit"):
    user: str


class Changed(Event, name="auth.password.changed"):
    user: str


events = Events()


@events.on(Failed, id="auth.count", broadcast=True)
async def count(event: Failed) -> None: ...


@events.on("auth.*", id="auth.watch", broadcast=True, audit=True)
async def watch(event: RawEvent) -> None: ...


@events.on("auth.*", id="auth.cache", broadcast=True)
async def cache(event: RawEvent) -> None: ...


@events.on("auth.*", id="auth.mail")
async def mail(event: RawEvent) -> None: ...


@events.on(Changed, id="auth.project", batch=50)
async def project(events: list[Changed]) -> None: ...
""",
    "breaking.py": "from fastapi_events import Events\nevents = Events()\n1 / 0\n",
}
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil"
"""What a terminal would obey."""
OVEN = Failure(
    "bakery.errors.OvenIsStillCold",
    "the oven is cold, password=hunter2",
    "Traceback of the oven\nbakery.errors.OvenIsStillCold: cold",
)
MAIL = Failure("ConnectionRefusedError", "mail host", "ConnectionRefusedError: mail host")


async def fill(connection: asyncpg.Connection[Any], *, dead: int = 4, live: bool = False) -> Seeded:
    """Orders, of which ``dead`` died in ``bakery.bake`` and one in ``bakery.note``; ``live``: a process runs."""
    seeding = await Seeding.on(connection)
    await seeding.group("app")
    await seeding.handler("bakery.bake", "bakery.order.placed")
    await seeding.handler("bakery.note", "bakery.order.*", ordered=False, on_dead="continue")
    await seeding.handler("bakery.gone", "bakery.page.*")
    if live:
        await seeding.process()
    for number in range(dead):
        event = await seeding.event(
            "bakery.order.placed", {"order": number, "card_token": "tok_1"}, aggregate_id=str(number),
            aggregate="order", tenant_id="acme" if number % 2 else "nordwind",
        )  # fmt: skip
        await seeding.delivery(event, "bakery.bake", "dead", "max_attempts", attempts=2, failure=OVEN)
        await seeding.batch([event], ["bakery.note"], took=event["published_at"] - event["published_at"])
    paid = await seeding.event("bakery.order.paid", {"order": 1, "mark": "very-secret"}, key=HOSTILE, actor=HOSTILE)
    await seeding.delivery(paid, "bakery.note", "dead", "timed_out", attempts=1, failure=MAIL)
    await seeding.settle_all()
    return seeding.seeded
