"""Which mails follow which events."""

from example_app.mail.mailbox import send_mail
from example_app.orders.contracts import OrderConfirmed, OrderRejected
from fastapi_events import Delivery, Module

mail = Module("mail")


@mail.on(OrderConfirmed, on_dead="continue", idempotency_key=lambda e: f"confirmed-{e.order_id}")
async def send_confirmation(event: OrderConfirmed, delivery: Delivery) -> None:
    """At least once, which the idempotency key turns into once at the mail service."""
    subject = f"Your order {event.order_id} is on its way"
    await send_mail(key=delivery.idempotency_key, recipient=event.email, subject=subject)


@mail.on(OrderRejected, on_dead="continue", idempotency_key=lambda e: f"rejected-{e.order_id}")
async def send_apology(event: OrderRejected, delivery: Delivery) -> None:
    """A lost apology may wait: a dead one does not hold up what follows."""
    subject = f"We are sorry about your order {event.order_id}: {event.reason}"
    await send_mail(key=delivery.idempotency_key, recipient=event.email, subject=subject)
