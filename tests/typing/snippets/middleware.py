"""Middleware as users write it, and the lines that checkers must refuse."""

from typing import assert_type
from uuid import UUID

from fastapi_events import (
    AttemptContext,
    AttemptNext,
    AttemptOutcome,
    Event,
    Events,
    HandleContext,
    HandleNext,
    Middleware,
    Module,
    PublishContext,
    PublishNext,
)


class Placed(Event, name="orders.order.placed"):
    order_id: UUID


class Everything(Middleware):
    async def publish(self, context: PublishContext, call_next: PublishNext) -> None:
        changed = context.replace(headers={**context.headers, "release": "1.2"}, tenant_id="acme", key=None)
        event_id = await call_next(changed)
        assert_type(event_id, UUID)

    async def handle(self, context: HandleContext, call_next: HandleNext) -> None:
        await call_next(context.replace(event=context.event))
        assert_type(context.attempt, int)

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        outcome = await call_next(context)
        assert_type(outcome, AttemptOutcome)
        if outcome.kind == "dead" and outcome.failure is not None:
            print(context.handler, outcome.reason, outcome.failure.message, outcome.duration)


class Wrong(Middleware):
    def handle(self, context: HandleContext, call_next: HandleNext) -> None: ...  # wrong

    async def attempt(self, context: AttemptContext, call_next: AttemptNext) -> None:
        outcome = await call_next(context)
        outcome.kind = "done"  # wrong
        context.attempt = 7  # wrong

    async def publish(self, context: PublishContext, call_next: PublishNext) -> None:
        context.headers["a"] = "b"  # wrong
        await call_next(context.event)  # wrong
        await call_next(context.replace(header={}))  # wrong
        await call_next(context.replace(headers={"a": 1}))  # wrong


both = [Everything(), Wrong()]
module = Module("orders", middleware=both)
events = Events(modules=[module], middleware=(Everything(),))


@module.on(Placed, middleware=[Everything()])
async def handle(event: Placed) -> None: ...


@module.on("orders.*", middleware=[Everything])  # wrong
async def watch(event: object) -> None: ...


Module("billing", middleware=Everything())  # wrong
Events(middleware=["timing"])  # wrong
