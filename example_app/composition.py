"""The composition root: which modules make up the shop. It imports no FastAPI, so that the worker can load it."""

import logging

from example_app.db import SessionLocal
from example_app.fulfilment.module import fulfilment
from example_app.inventory.module import inventory
from example_app.mail.module import mail
from example_app.orders.module import orders
from example_app.payments.module import payments
from example_app.reports.module import reports
from fastapi_events import Delivery, Event, Events, RawEvent

logger = logging.getLogger("example_app")

events = Events(modules=[orders, inventory, payments, fulfilment, reports, mail], sessions=SessionLocal)


@events.on("*", id="journal", ordered=False, on_dead="continue")
async def write_journal(event: Event | RawEvent, delivery: Delivery) -> None:
    """A wildcard handler sees every event, of whatever module. What is in them is no matter for a log."""
    logger.info("%s %s (%s)", delivery.name, delivery.event_id, type(event).__name__)
