"""A worker process that one event ends, as a crash in a C library would: ``crashing_process.py DATABASE_URL``."""

import os
import sys

from sqlalchemy import text

from fastapi_events import Event, Events, EventsSettings, HandlerSession
from fastapi_events.cli.worker import run_worker

events = Events(
    settings=EventsSettings(database_url=sys.argv[1], lease=0.6, heartbeat=0.15, poll_interval=0.1, shutdown_grace=1.0)
)


class Placed(Event, name="shop.order.placed", aggregate_id="order"):
    order: str
    number: int = 0


@events.on(Placed, id="shop.fragile")
async def fragile(event: Placed, session: HandlerSession) -> None:
    connection = await session.connection()
    await connection.execute(
        text("INSERT INTO effect VALUES (:order, :number)"), {"order": event.order, "number": event.number}
    )
    if event.number == 13:
        os._exit(139)


if __name__ == "__main__":
    sys.exit(run_worker(events))
