"""What a measured product must be able to do, and the products by name."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Purpose = Literal["drain", "latency", "idle"]
Started = Callable[[Any], None]


@dataclass(frozen=True)
class Committed:
    """When a transaction's COMMIT was sent and when it had returned, in monotonic nanoseconds."""

    sent: int
    returned: int


Publish = Callable[[int], Awaitable[Committed]]


class Subject(Protocol):
    """A product at its best documented settings."""

    name: str
    distribution: str

    async def install(self, url: str) -> None:
        """Make the product's schema in an empty database, and register what it needs registered."""

    async def load(self, url: str, count: int) -> None:
        """Publish the orders 1 to ``count`` as a backlog, as fast as the product can."""

    def worker(self, url: str, started: Started, purpose: Purpose) -> AbstractAsyncContextManager[None]:
        """A running worker, at the settings documented for the purpose.

        Its only handler is async and calls ``started`` with the payload as the product hands it over, nothing
        else. Entering returns when the worker is ready, or about to be; leaving stops it gracefully.
        """

    def publisher(self, url: str) -> AbstractAsyncContextManager[Publish]:
        """A function that publishes one order in a transaction of its own."""

    def number_of(self, payload: Any) -> int:
        """The order's number in a payload as the handler got it."""

    async def unfinished(self, url: str) -> int:
        """How many published orders the product has not yet recorded as done."""


_SUBJECTS = {
    "fastapi_events": "benchmarks.ours:Ours",
    "jobs": "benchmarks.our_jobs:OurJobs",
    "pgqueuer": "benchmarks.peers.pgqueuer:PgQueuerSubject",
    "procrastinate": "benchmarks.peers.procrastinate:ProcrastinateSubject",
    "dbos": "benchmarks.peers.dbos:DbosSubject",
}
NAMES = tuple(_SUBJECTS)
OURS = "fastapi_events"
JOBS = "jobs"
OF_EVENTS = (OURS, "pgqueuer", "procrastinate")
"""Who takes part in the points about events."""
OF_JOBS = (JOBS, "pgqueuer", "procrastinate", "dbos")
"""Who takes part in the points about jobs."""


def subject(name: str) -> Subject:
    """The subject of that name; its product is imported only now.

    Settings may follow the name, as in ``pgqueuer@batch_size=500``: so a measured process gets them.
    """
    product, _, given = name.partition("@")
    module, _, attribute = _SUBJECTS[product].partition(":")
    pairs = (one.partition("=") for one in given.split(",") if one)
    settings: dict[str, Any] = {key: int(value) if value.isdigit() else value for key, _, value in pairs}
    made: Subject = getattr(importlib.import_module(module), attribute)(**settings)
    return made
