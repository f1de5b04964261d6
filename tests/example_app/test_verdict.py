"""The demonstration's verdict turns red for each promise that is broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

if TYPE_CHECKING:
    from example_app.demo.verdict import Books

ID = UUID(int=1)


@pytest.fixture
def verdict(shop: object) -> Callable[..., list[str]]:
    """Judge the books of one order that went well, but for the changes."""
    from example_app.demo.verdict import broken_promises

    def judge(accepted: frozenset[UUID] = frozenset({ID}), stuck: frozenset[UUID] = frozenset(), **changes: Any) -> Any:
        return list(broken_promises(books(**changes), "run", accepted, stuck))

    return judge


def books(status: str = "confirmed", available: int = 8, **changes: Any) -> Books:
    from example_app.demo.verdict import Books
    from example_app.inventory.tables import Stock
    from example_app.orders.tables import Order, OrderStatus

    order = Order(id=ID, reference="run-1", sku="LAMP", quantity=2, email="a@example.com", status=OrderStatus(status))
    good: dict[str, Any] = {
        "orders": {ID: order},
        "stock": [Stock(sku="LAMP", unit_cents=100, received=10, available=available)],
        "reserved": Counter({ID: 1}),
        "released": Counter(),
        "pieces_reserved": Counter({"LAMP": 2}),
        "charged": Counter({f"charge-{ID}": 1}),
        "paid": Counter({ID: 1}),
        "mailed": Counter({f"confirmed-{ID}": 1, f"rejected-{ID}": 1}),
    }
    return Books(**good | changes)


def test_a_good_order_breaks_nothing(verdict: Callable[..., list[str]]) -> None:
    assert verdict() == []


def test_a_stuck_order_is_excused(verdict: Callable[..., list[str]]) -> None:
    nothing_yet = {"status": "placed", "charged": Counter(), "paid": Counter(), "mailed": Counter()}
    assert verdict(stuck=frozenset({ID}), **nothing_yet) == []
    assert "came to no end" in "".join(verdict(**nothing_yet))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"accepted": frozenset({ID, UUID(int=2)})}, "was accepted, but it is not in the database"),
        ({"accepted": frozenset()}, "it was never accepted"),
        ({"mailed": Counter()}, "came to no end"),
        ({"reserved": Counter({ID: 2})}, "was reserved 2 times"),
        ({"reserved": Counter()}, "is confirmed with 0 reservations"),
        ({"charged": Counter()}, "0 charges"),
        ({"paid": Counter()}, "0 payments"),
        ({"paid": Counter({ID: 2})}, "was paid 2 times"),
        ({"status": "rejected"}, "is rejected with 1 reservations"),
        ({"available": -1}, "-1 pieces are free"),
        ({"available": 9}, "9 pieces are free, but 8 are not reserved"),
    ],
)
def test_each_broken_promise_is_found(verdict: Callable[..., list[str]], changes: dict[str, Any], found: str) -> None:
    assert found in "\n".join(verdict(**changes))
