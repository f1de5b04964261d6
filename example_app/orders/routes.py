"""The API of the orders module."""

from uuid import UUID

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, EmailStr, Field
from sqlalchemy.exc import IntegrityError

from example_app.dependencies import Publisher, SessionDep
from example_app.orders.contracts import OrderPlaced
from example_app.orders.tables import Order

router = APIRouter(tags=["orders"])


class NewOrder(BaseModel):
    """What a customer sends."""

    reference: str = Field(min_length=1, max_length=100, examples=["my-order-1"])
    sku: str = Field(examples=["LAMP"])
    quantity: int = Field(ge=1, le=100)
    email: EmailStr


@router.post("/orders", status_code=201)
async def place_order(body: NewOrder, session: SessionDep, publish: Publisher) -> Order:
    """Take an order. A reference that was used before is refused with 409, and its event is rolled back too."""
    order = Order.model_validate(body)
    session.add(order)
    await publish(OrderPlaced(order_id=order.id, sku=order.sku, quantity=order.quantity, email=order.email))
    try:
        await session.commit()  # order and event, or neither
    except IntegrityError as error:
        raise HTTPException(409, f"The reference {body.reference!r} has been used before.") from error
    return order


@router.get("/orders/{order_id}")
async def get_order(order_id: UUID, session: SessionDep) -> Order:
    """Show an order and what has become of it."""
    order = await session.get(Order, order_id)
    if order is None:
        raise HTTPException(404, f"There is no order {order_id}.")
    return order
