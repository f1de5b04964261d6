"""The one kilobyte that every subject publishes: an order as a JSON object of seven fields."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, PositiveInt

PAYLOAD_BYTES = 1024
_LENGTH_WITHOUT_NOTE = 195


class Order(BaseModel):
    """What a consumer of the payload would validate it with; our event class declares the same fields."""

    order_id: UUID
    number: int
    sku: str
    quantity: PositiveInt
    email: str
    address: str
    note: str


def order_fields(number: int) -> dict[str, Any]:
    """The fields of order ``number``; the id is derived from the number, so every order has its own key."""
    return {
        "order_id": UUID(int=(0x4BE7 << 112) | number),
        "number": number,
        "sku": f"SKU-{number % 1000:05d}",
        "quantity": number % 7 + 1,
        "email": f"customer-{number % 5000:06d}@example.org",
        "address": "12 Long Street, 10115 Berlin, Germany",
        "note": "n" * (PAYLOAD_BYTES - _LENGTH_WITHOUT_NOTE),
    }


def order_json(number: int) -> bytes:
    """Order ``number`` as JSON, within a few bytes of ``PAYLOAD_BYTES``."""
    return Order(**order_fields(number)).model_dump_json().encode()
