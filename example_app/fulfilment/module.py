"""How a confirmed order leaves the house: a run for the order, and one below it for each parcel."""

from uuid import UUID

from pydantic import BaseModel, PositiveInt

from example_app.fulfilment.tables import Parcel, Shipment
from example_app.orders.contracts import OrderConfirmed
from fastapi_events import HandlerSession, JobContext, Module, Trigger

PARCEL_HOLDS = 2
"""Pieces that fit into a parcel."""

fulfilment = Module("fulfilment")


class Fulfil(BaseModel):
    """What is to be sent for an order."""

    order_id: UUID
    sku: str
    quantity: PositiveInt


def parcels_of(quantity: int) -> list[int]:
    """Pieces in each parcel of an order."""
    return [min(PARCEL_HOLDS, quantity - packed) for packed in range(0, quantity, PARCEL_HOLDS)]


@fulfilment.job("fulfilment.pack", scope=lambda parcel: ("order", parcel.order_id))
async def pack(job: JobContext[Fulfil], session: HandlerSession) -> UUID:
    """One parcel: its row and the run's end commit together."""
    parcel = Parcel(order_id=job.input.order_id, sku=job.input.sku, pieces=job.input.quantity)
    session.add(parcel)
    return parcel.id


@fulfilment.job(
    "fulfilment.fulfil",
    scope=lambda order: ("order", order.order_id),
    triggers=[
        Trigger(OrderConfirmed, map=lambda e: Fulfil(order_id=e.order_id, sku=e.sku, quantity=e.quantity)),
    ],
)
async def fulfil(job: JobContext[Fulfil]) -> UUID:
    """Have every parcel packed, wherever there is a free hand, and hand them over together."""
    for pieces in parcels_of(job.input.quantity):
        await job.spawn(pack, job.input.model_copy(update={"quantity": pieces}))
    parcels = await job.gather_children()
    return await job.step("hand over", hand_over, job.input.order_id, len(parcels))


async def hand_over(order_id: UUID, parcels: int, session: HandlerSession) -> UUID:
    """Give the parcels to the carrier; the shipment and the step's result commit together."""
    shipment = Shipment(order_id=order_id, parcels=parcels)
    session.add(shipment)
    return shipment.id
