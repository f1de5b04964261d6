"""How payments follow orders."""

from typing import Annotated

from fast_depends import Depends

from example_app.inventory.contracts import StockReserved
from example_app.payments.contracts import PaymentCaptured, PaymentDeclined
from example_app.payments.invoices import write_invoice_file
from example_app.payments.provider import CardDeclined, Provider, get_provider
from example_app.payments.tables import Payment
from example_app.settings import settings
from fastapi_events import Delivery, EventPublisher, HandlerSession, Module, Retry, exponential

payments = Module("payments")

ProviderDep = Annotated[Provider, Depends(get_provider)]


@payments.on(
    StockReserved,
    retry=Retry(max_attempts=3, backoff=exponential(0.5, cap=30)),
    timeout=10,
    idempotency_key=lambda e: f"charge-{e.order_id}",
)
async def charge_customer(
    event: StockReserved, delivery: Delivery, provider: ProviderDep, publish: EventPublisher
) -> None:
    """Ask the provider for the money.

    It takes no session: no transaction stays open while the provider thinks. Should it be run again after a crash,
    the provider knows the key and charges once. An outage is retried and then dead; a declined card is an answer.
    """
    try:
        await provider.charge(key=delivery.idempotency_key, cents=event.total_cents)
    except CardDeclined as declined:
        await publish(PaymentDeclined(order_id=event.order_id, reason=str(declined)))
    else:
        await publish(PaymentCaptured(order_id=event.order_id, cents=event.total_cents))


@payments.on(PaymentCaptured)
async def book_payment(event: PaymentCaptured, session: HandlerSession) -> None:
    """Enter the money into our own books."""
    session.add(Payment(order_id=event.order_id, cents=event.cents))


@payments.on(PaymentCaptured)
def write_invoice(event: PaymentCaptured) -> None:
    """Files are blocking, so this is a plain ``def``: it runs in a thread and holds up nobody."""
    write_invoice_file(settings.invoice_folder, event.order_id, event.cents)
