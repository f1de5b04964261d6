"""What the payments module tells the others."""

from uuid import UUID

from pydantic import NonNegativeInt

from fastapi_events import Event


class PaymentCaptured(Event, name="payments.payment.captured", aggregate="order", aggregate_id="order_id"):
    """The provider has taken the money."""

    order_id: UUID
    cents: NonNegativeInt


class PaymentDeclined(Event, name="payments.payment.declined", aggregate="order", aggregate_id="order_id"):
    """The provider will not take the money, however often it is asked."""

    order_id: UUID
    reason: str
