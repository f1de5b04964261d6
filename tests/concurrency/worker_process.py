"""A worker process for tests that kill or stop it: ``worker_process.py DATABASE_URL``."""

import asyncio
import sys

from sqlalchemy import text

from fastapi_events import Delivery, Event, Events, EventsSettings, HandlerSession, Retry, fixed
from fastapi_events.cli.worker import run_worker

URL = sys.argv[1]
events = Events(
    settings=EventsSettings(
        database_url=URL,
        lease=0.6,
        heartbeat=0.15,
        poll_interval=0.1,
        batch_size=20,
        shutdown_grace=5.0,
        breaker_threshold=1000,  # its handler is to fail and to be tried again at once
    )
)


class Placed(Event, name="shop.order.placed", aggregate_id="order"):
    order: str
    number: int = 0


@events.on(Placed, id="shop.transactional", retry=Retry(50, fixed(0.01)))
async def transactional(event: Placed, session: HandlerSession, delivery: Delivery) -> None:
    connection = await session.connection()
    await connection.execute(
        text("INSERT INTO effect VALUES (:order, :number)"), {"order": event.order, "number": event.number}
    )
    await asyncio.sleep(0.002)
    if event.number % 11 == 5 and delivery.attempt == 1:
        raise ValueError("not yet")


if __name__ == "__main__":
    sys.exit(run_worker(events))
