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
        "shipped": Counter({ID: 1}),
        "packed": {ID: [2]},
        "received": Counter(),
        "sold": Counter({ID: 1}),
        "sales": [],
        "reports": [],
    }
    return Books(**good | changes)


def test_a_good_order_breaks_nothing(verdict: Callable[..., list[str]]) -> None:
    assert verdict() == []


def test_a_stuck_order_is_excused(verdict: Callable[..., list[str]]) -> None:
    nothing_yet = {
        "status": "placed", "charged": Counter(), "paid": Counter(), "mailed": Counter(), "shipped": Counter(),
        "packed": {}, "sold": Counter(),
    }  # fmt: skip
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
        ({"shipped": Counter()}, "came to no end"),
        ({"sold": Counter()}, "came to no end"),
        ({"shipped": Counter({ID: 2})}, "was shipped 2 times"),
        ({"sold": Counter({ID: 2})}, "was noted as sold 2 times"),
        ({"packed": {}}, "of 2 pieces was packed into parcels of []"),
        ({"packed": {ID: [2, 2]}}, "was packed into parcels of [2, 2]"),
        ({"shipped": Counter(), "packed": {ID: [2, 1]}}, "was packed into parcels of [2, 1]"),
        ({"status": "rejected"}, "is rejected, with 1 parcels and 1 shipments"),
        ({"available": -1}, "-1 pieces are free"),
        ({"available": 9}, "9 pieces are free, but 8 are not reserved"),
    ],
)
def test_each_broken_promise_is_found(verdict: Callable[..., list[str]], changes: dict[str, Any], found: str) -> None:
    assert found in "\n".join(verdict(**changes))


@pytest.mark.parametrize(
    ("states", "triggered", "low", "received", "found"),
    [
        ({ID: "completed"}, {ID}, 1, 1, None),
        ({ID: "completed"}, set[UUID](), 0, 1, None),
        ({ID: "completed"}, {ID}, 2, 1, "ran low 2 times, but that started 1 restocks"),
        ({ID: "completed"}, set[UUID](), 0, 2, "came in 2 times"),
        ({ID: "completed"}, set[UUID](), 0, 0, "came in 0 times"),
        ({ID: "failed"}, set[UUID](), 0, 0, "is failed, not completed"),
        ({ID: "pending"}, set[UUID](), 0, 1, "is pending, and its goods came in 1 times"),
    ],
)
def test_each_broken_restock_is_found(
    shop: object, states: dict[UUID, str], triggered: set[UUID], low: int, received: int, found: str | None
) -> None:
    from example_app.demo.restocks import Restocks, broken_restocks

    broken = list(broken_restocks(Restocks(states, frozenset(triggered)), low, Counter({ID: received})))
    assert broken == [] if found is None else found in "\n".join(broken)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, None),
        ({"sales": 2}, "tells of 2 sales for 100 cents, but they are 1 for 100"),
        ({"cents": 1}, "tells of 1 sales for 1 cents"),
        ({"run_id": UUID(int=9)}, "asked for once and written 0 times"),
        ({"report": None}, "was paid 1 times and reported 0 times"),
    ],
)
def test_each_broken_report_is_found(shop: object, change: dict[str, Any], found: str | None) -> None:
    from datetime import UTC, datetime

    from example_app.demo.reporting import broken_reports
    from example_app.reports.tables import Report, Sale

    told, run = UUID(int=7), UUID(int=8)
    sale = Sale(order_id=ID, cents=100, report_id=None if "report" in change else told)
    good: dict[str, Any] = {"id": told, "run_id": run, "until": datetime.now(UTC), "sales": 1, "cents": 100}
    report = Report(**good | {name: value for name, value in change.items() if name != "report"})
    broken = list(broken_reports(books(sales=[sale], reports=[report]), "run", run))
    assert broken == [] if found is None else found in "\n".join(broken)
