"""What a job may be given beside its input, one at a time: each is measured beside the plain job."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from sqlalchemy import insert

from benchmarks.ours import Effect
from benchmarks.payload import Order
from benchmarks.subjects import Started
from fastapi_events import Concurrency, Dedupe, HandlerSession, Job, JobContext, Module, RateLimit

PLAIN = "plain"
_NAME = "bench.handle"
_MANY = 1_000_000
_WORK_SECONDS = 0.01
_TEN = {"concurrency": {"batch": 10}}

Declare = Callable[[Module, Started], Job[Order, Any]]


class Shipped(BaseModel):
    """A result of some hundred bytes."""

    number: int
    email: str
    address: str


@dataclass(frozen=True)
class Feature:
    """A job, how it is started, and what is told of it."""

    text: str
    declare: Declare
    options: Callable[[int], dict[str, Any]] = lambda _: {}
    """Options of the start, by the number of the call."""
    per_call: int = 1000
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


def _plain(**options: Any) -> Declare:
    def declare(module: Module, started: Started) -> Job[Order, Any]:
        @module.job(_NAME, **options)
        async def handle(job: JobContext[Order]) -> None:
            started(job.input)

        return handle

    return declare


def _working(**options: Any) -> Declare:
    def declare(module: Module, started: Started) -> Job[Order, Any]:
        @module.job(_NAME, **options)
        async def handle(job: JobContext[Order]) -> None:
            await asyncio.sleep(_WORK_SECONDS)
            started(job.input)

        return handle

    return declare


def _with_step(module: Module, started: Started) -> Job[Order, Any]:
    async def reserve() -> None:
        """It is its result that is recorded."""

    @module.job(_NAME)
    async def handle(job: JobContext[Order]) -> None:
        await job.step("reserve", reserve)
        started(job.input)

    return handle


def _with_session(module: Module, started: Started) -> Job[Order, Any]:
    @module.job(_NAME)
    async def handle(job: JobContext[Order], session: HandlerSession) -> None:
        await session.execute(insert(Effect).values(order_id=job.input.order_id, number=job.input.number))
        started(job.input)

    return handle


def _with_log(module: Module, started: Started) -> Job[Order, Any]:
    # Else each line would also be written to standard error, as Python does where nobody handles it.
    logging.getLogger("fastapi_events.jobs").addHandler(logging.NullHandler())

    @module.job(_NAME)
    async def handle(job: JobContext[Order]) -> None:
        job.log.warning("order %s", job.input.number)
        started(job.input)

    return handle


def _with_result(module: Module, started: Started) -> Job[Order, Any]:
    @module.job(_NAME)
    async def handle(job: JobContext[Order]) -> Shipped:
        started(job.input)
        return Shipped(number=job.input.number, email=job.input.email, address=job.input.address)

    return handle


FEATURES: dict[str, Feature] = {
    PLAIN: Feature("nothing but the input", _plain()),
    "step": Feature("one step, whose result is recorded", _with_step),
    "session": Feature("a session at the job, and one INSERT by it", _with_session),
    "tags": Feature("two tags and a scope", _plain(), lambda _: {"tags": ["shop", "spring"], "scope": ("account", 7)}),
    "priorities": Feature("five priorities, changing every hundred", _plain(), lambda n: {"priority": n % 5}, 100),
    "limit": Feature(
        "at most one at a time of each of 5 000 keys",
        _plain(concurrency=Concurrency(key=lambda order: order.email)),
    ),
    "rate": Feature("a rate that is never reached", _plain(rate_limit=RateLimit(_MANY, per=1))),
    "dedupe": Feature("a dedupe key, unlike all others", _plain(dedupe=Dedupe(key=lambda order: str(order.number)))),
    "log": Feature("one line of log, of a level that is kept", _with_log),
    "result": Feature("a result of a hundred bytes", _with_result),
    "limit of all": Feature(
        "at most a thousand at a time, of which no more than the pool's five are at work",
        _plain(concurrency=Concurrency(limit=1000)),
    ),
    "working": Feature("10 ms of waiting each, in a pool of ten", _working(), settings=_TEN),
    "working by key": Feature(
        "the same, at most one at a time of each of ten keys",
        _working(concurrency=Concurrency(key=lambda order: str(order.number % 10))),
        settings=_TEN,
    ),
}
OF_LIMITS = ("limit of all", "working", "working by key")
"""Those that only ``jobs_limits`` measures."""
