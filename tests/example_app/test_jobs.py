"""What the shop does by jobs: orders leave the house in parcels, shelves are filled again, nights have reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from sqlmodel import select

if TYPE_CHECKING:
    from tests.example_app.conftest import Shop


async def ended(shop: Shop, *runs: str) -> None:
    async def all_have() -> bool:
        return all([(await shop.told_of(run))["finished_at"] is not None for run in runs])

    await shop.until(all_have)


async def receipts(run: str) -> list[Any]:
    from example_app.db import SessionLocal
    from example_app.inventory.tables import Receipt

    async with SessionLocal() as session:
        return list(await session.scalars(select(Receipt).where(Receipt.run_id == UUID(run))))


async def test_a_confirmed_order_leaves_in_parcels_each_a_run_below_the_orders(shop: Shop) -> None:
    from example_app.demo.verdict import Books

    order_id = await shop.order(quantity=5)
    await shop.until_status(order_id, "confirmed")

    async def shipped() -> bool:
        return (await Books.read()).shipped[order_id] > 0

    await shop.until(shipped)
    books = await Books.read()
    assert (books.shipped[order_id], sorted(books.packed[order_id])) == (1, [1, 2, 2])

    runs = await shop.runs(scope=f"order/{order_id}")
    (parent,) = [run for run in runs if run["job"] == "fulfilment.fulfil"]
    children = [run for run in runs if run["job"] == "fulfilment.pack"]
    assert parent["source"] == "event"
    assert [child["parent_id"] for child in children] == [parent["id"]] * 3
    assert {run["state"] for run in runs} == {"completed"}


async def test_an_article_that_runs_low_is_ordered_once_and_put_on_the_shelf(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from example_app.settings import settings

    before = {run["id"] for run in await shop.runs(job="inventory.restock")}
    monkeypatch.setattr(settings, "delivery_seconds", 1.1)  # longer than what is waited out in place
    available = await shop.available("VASE")
    for quantity in (available - 14, 1):  # then lower still: that orders nothing more
        await shop.until_status(await shop.order(sku="VASE", quantity=quantity), "confirmed")

    async def restocked() -> bool:
        return await shop.available("VASE") == 13 + 25

    await shop.until(restocked)
    (run,) = [run for run in await shop.runs(job="inventory.restock") if run["id"] not in before]
    await ended(shop, run["id"])
    assert run["source"] == "event"
    (receipt,) = await receipts(run["id"])
    assert (receipt.sku, receipt.pieces) == ("VASE", 25)


async def test_a_restock_by_hand_goes_through_its_steps(shop: Shop) -> None:
    before = await shop.available("CHAIR")
    run = (await shop.client.post("/stock/CHAIR/restocks")).raise_for_status().json()
    await ended(shop, run)

    told = await shop.told_of(run)
    assert (told["state"], told["source"]) == ("completed", "manual")
    steps = [(step["name"], step["kind"]) for step in told["steps"] if step["kind"] == "step"]
    assert steps == [("quote", "step"), ("order", "step"), ("shelve", "step")]
    (receipt,) = await receipts(run)
    assert await shop.available("CHAIR") == before + receipt.pieces
    assert (await shop.client.post("/stock/UNICORN/restocks")).status_code == 404


async def test_restocks_of_one_article_come_one_after_the_other(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from example_app.db import SessionLocal
    from example_app.inventory.supplier import SupplierOrder
    from example_app.inventory.tables import Receipt
    from example_app.settings import settings

    monkeypatch.setattr(settings, "delivery_seconds", 1.1)  # longer than what is waited out in place
    runs = [(await shop.client.post("/stock/CHAIR/restocks")).raise_for_status().json() for _ in range(2)]
    under_way: list[int] = []

    async def all_have_ended() -> bool:
        async with SessionLocal() as session:
            ordered = list(await session.scalars(select(SupplierOrder.id).where(SupplierOrder.sku == "CHAIR")))
            received = list(await session.scalars(select(Receipt.id).where(Receipt.sku == "CHAIR")))
        under_way.append(len(ordered) - len(received))
        return all([(await shop.told_of(run))["finished_at"] is not None for run in runs])

    await shop.until(all_have_ended)
    assert set(under_way) == {0, 1}
    assert [len(await receipts(run)) for run in runs] == [1, 1]


async def test_a_restock_that_dies_behind_the_order_orders_no_second_time(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from example_app.db import SessionLocal
    from example_app.inventory import module
    from example_app.inventory.supplier import SupplierOrder
    from example_app.inventory.tables import Receipt

    def torn(**_: object) -> None:
        raise RuntimeError("the receipt cannot be read")

    monkeypatch.setattr(module, "Receipt", torn)
    run = (await shop.client.post("/stock/LAMP/restocks")).raise_for_status().json()

    async def failed_once() -> bool:
        return (await shop.told_of(run))["attempts"] > 0

    await shop.until(failed_once)
    monkeypatch.setattr(module, "Receipt", Receipt)
    await ended(shop, run)
    (receipt,) = await receipts(run)
    async with SessionLocal() as session:
        placed = list(await session.scalars(select(SupplierOrder).where(SupplierOrder.sku == "LAMP")))
    assert [order.id for order in placed] == [receipt.supplier_order_id]


async def test_a_report_tells_of_each_sale_once(shop: Shop) -> None:
    from example_app.demo.reporting import broken_reports
    from example_app.demo.verdict import Books

    order_id = await shop.order(quantity=2)

    async def sold() -> bool:
        return (await Books.read()).sold[order_id] > 0

    await shop.until(sold)
    runs = [(await shop.client.post("/reports")).raise_for_status().json() for _ in range(2)]
    await ended(shop, *runs)
    assert list(broken_reports(await Books.read(), shop.run, UUID(runs[0]))) == []
    assert list(broken_reports(await Books.read(), shop.run, UUID(runs[1]))) == []
    newest = (await shop.client.get("/reports")).json()
    assert {report["run_id"] for report in newest} >= set(runs)


async def test_the_report_has_a_schedule_of_its_own(shop: Shop) -> None:
    (schedule,) = await shop.events.observe.schedules()
    assert (schedule.name, schedule.job, schedule.status) == ("reports.nightly", "reports.nightly", "ticking")
