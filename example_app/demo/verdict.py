"""Whether the shop kept its promises: what customers were told, held against what the database says."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from example_app.db import engine
from example_app.fulfilment.module import parcels_of
from example_app.fulfilment.tables import Parcel, Shipment
from example_app.inventory.tables import Receipt, Reservation, Stock
from example_app.mail.mailbox import SentMail
from example_app.orders.tables import Order, OrderStatus
from example_app.payments.tables import Charge, Payment
from example_app.reports.tables import Report, Sale


@dataclass(frozen=True)
class Books:
    """Everything the shop wrote down, counted by order; of earlier runs too, where the database is not new."""

    orders: dict[UUID, Order]
    stock: list[Stock]
    reserved: Counter[UUID]
    released: Counter[UUID]
    pieces_reserved: Counter[str]
    charged: Counter[str]
    paid: Counter[UUID]
    mailed: Counter[str]
    shipped: Counter[UUID]
    packed: dict[UUID, list[int]]
    received: Counter[UUID]
    sold: Counter[UUID]
    sales: list[Sale]
    reports: list[Report]

    @classmethod
    async def read(cls) -> "Books":
        """Read all books in one snapshot."""
        async with AsyncSession(engine.execution_options(isolation_level="REPEATABLE READ")) as session:
            return await cls._read_in(session)

    @classmethod
    async def _read_in(cls, session: AsyncSession) -> "Books":
        reservations = list(await session.scalars(select(Reservation)))
        packed: dict[UUID, list[int]] = defaultdict(list)
        for parcel in await session.scalars(select(Parcel)):
            packed[parcel.order_id].append(parcel.pieces)
        sales = list(await session.scalars(select(Sale)))
        pieces: Counter[str] = Counter()
        for reservation in reservations:
            if not reservation.released:
                pieces[reservation.sku] += reservation.quantity
        return cls(
            orders={order.id: order for order in await session.scalars(select(Order))},
            stock=list(await session.scalars(select(Stock))),
            reserved=Counter(r.order_id for r in reservations if not r.released),
            released=Counter(r.order_id for r in reservations if r.released),
            pieces_reserved=pieces,
            charged=Counter(await session.scalars(select(Charge.key).where(col(Charge.captured)))),
            paid=Counter(await session.scalars(select(Payment.order_id))),
            mailed=Counter(await session.scalars(select(SentMail.key))),
            shipped=Counter(await session.scalars(select(Shipment.order_id))),
            packed=packed,
            received=Counter(await session.scalars(select(Receipt.run_id))),
            sold=Counter(sale.order_id for sale in sales),
            sales=sales,
            reports=list(await session.scalars(select(Report))),
        )

    def unfinished(self, accepted: Iterable[UUID]) -> set[UUID]:
        """Those orders that are neither confirmed and shipped nor rejected yet, or whose customer has no mail yet."""
        return {order_id for order_id in accepted if not self._finished(self.orders.get(order_id))}

    def _finished(self, order: Order | None) -> bool:
        if order is None or order.status == OrderStatus.placed or not self.mailed[f"{order.status}-{order.id}"]:
            return False
        return order.status == OrderStatus.rejected or (self.shipped[order.id] > 0 and self.sold[order.id] > 0)


def broken_promises(books: Books, run: str, accepted: Set[UUID], stuck: Set[UUID]) -> Iterator[str]:
    """Every invariant that does not hold. ``stuck``: orders with a dead letter, which need not have ended."""
    mine = {order.id for order in books.orders.values() if order.reference.startswith(f"{run}-")}
    for lost in accepted - mine:
        yield f"order {lost} was accepted, but it is not in the database"
    for ghost in mine - accepted:
        yield f"order {ghost} is in the database, but it was never accepted"
    for order_id in books.unfinished(accepted & mine) - stuck:
        yield f"order {order_id} came to no end, and no dead letter says why"
    for order_id in mine:
        yield from _broken_by(books, books.orders[order_id])
    yield from _broken_shelves(books)


def _broken_by(books: Books, order: Order) -> Iterator[str]:
    confirmed, rejected = order.status == OrderStatus.confirmed, order.status == OrderStatus.rejected
    reserved, paid, charged = books.reserved[order.id], books.paid[order.id], books.charged[f"charge-{order.id}"]
    if confirmed and not reserved == paid == charged == 1:
        yield f"order {order.id} is confirmed with {reserved} reservations, {charged} charges and {paid} payments"
    if rejected and (reserved or paid or charged):
        yield f"order {order.id} is rejected with {reserved} reservations, {charged} charges and {paid} payments"
    if reserved + books.released[order.id] > 1:
        yield f"order {order.id} was reserved {reserved + books.released[order.id]} times"
    if paid > 1:
        yield f"order {order.id} was paid {paid} times"
    yield from _broken_shipping(books, order)


def _broken_shipping(books: Books, order: Order) -> Iterator[str]:
    shipped, sold, packed = books.shipped[order.id], books.sold[order.id], books.packed.get(order.id, [])
    if order.status != OrderStatus.confirmed and (shipped or packed):
        yield f"order {order.id} is {order.status}, with {len(packed)} parcels and {shipped} shipments"
    if shipped > 1:
        yield f"order {order.id} was shipped {shipped} times"
    if (shipped and sorted(packed) != sorted(parcels_of(order.quantity))) or sum(packed) > order.quantity:
        yield f"order {order.id} of {order.quantity} pieces was packed into parcels of {packed}"
    if sold > 1:
        yield f"order {order.id} was noted as sold {sold} times"


def _broken_shelves(books: Books) -> Iterator[str]:
    for stock in books.stock:
        expected = stock.received - books.pieces_reserved[stock.sku]
        if stock.available < 0 or stock.available != expected:
            yield f"{stock.sku}: {stock.available} pieces are free, but {expected} are not reserved"
