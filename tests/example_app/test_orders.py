"""What becomes of an order, from the HTTP request to the last effect."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

if TYPE_CHECKING:
    from tests.example_app.conftest import Shop


async def kept_every_promise(shop: Shop, *accepted: UUID, stuck: frozenset[UUID] = frozenset()) -> None:
    from example_app.demo.verdict import Books, broken_promises

    async def nothing_broken() -> bool:
        return not list(broken_promises(await Books.read(), shop.run, set(accepted), stuck))

    await shop.until(nothing_broken)


async def test_an_order_is_confirmed_with_each_effect_once(shop: Shop, invoice_folder: Path) -> None:
    before = await shop.available("LAMP")
    order_id = await shop.order(quantity=3)
    assert await shop.status(order_id) == "placed"

    await shop.until_status(order_id, "confirmed")
    await kept_every_promise(shop, order_id)

    assert await shop.available("LAMP") == before - 3
    assert "117.00 EUR" in (invoice_folder / f"{order_id}.txt").read_text()


async def test_a_reference_used_before_leaves_neither_order_nor_event(shop: Shop) -> None:
    email = f"{shop.run}@example.com"
    order_id = await shop.order(reference=f"{shop.run}-once", email=email)
    again = await shop.place(reference=f"{shop.run}-once", email=email)

    assert again.status_code == 409
    await shop.until_status(order_id, "confirmed")
    await kept_every_promise(shop, order_id)
    log = await shop.client.get("/events/api/events", params={"filter": f"payload.email:{email}"})
    placed = [event for event in log.json()["events"] if event["name"] == "orders.order.placed"]
    assert [UUID(event["aggregate_id"]) for event in placed] == [order_id]


async def test_a_bad_order_is_refused_before_anything_is_stored(shop: Shop) -> None:
    assert (await shop.place(quantity=0)).status_code == 422
    assert (await shop.place(email="nobody")).status_code == 422


async def test_what_is_sold_out_is_rejected(shop: Shop) -> None:
    order_id = await shop.order(sku="UNICORN")
    await shop.until_status(order_id, "rejected")
    await kept_every_promise(shop, order_id)


async def test_a_declined_card_puts_the_goods_back(shop: Shop, temper: Callable[[str], None]) -> None:
    temper("declining")
    before = await shop.available("DESK")
    order_id = await shop.order(sku="DESK")
    await shop.until_status(order_id, "rejected")
    await kept_every_promise(shop, order_id)
    assert await shop.available("DESK") == before


async def test_a_flaky_provider_is_asked_again_and_charges_once(shop: Shop, temper: Callable[[str], None]) -> None:
    temper("flaky")
    order_id = await shop.order()
    await shop.until_status(order_id, "confirmed")
    await kept_every_promise(shop, order_id)
    assert await shop.dead_letters(order_id) == []


async def test_a_stubborn_provider_makes_a_dead_letter_that_a_redrive_mends(
    shop: Shop, temper: Callable[[str], None]
) -> None:
    temper("stubborn")
    order_id = await shop.order()

    async def died() -> bool:
        return bool(await shop.dead_letters(order_id))

    await shop.until(died)
    (letter,) = await shop.dead_letters(order_id)
    assert (letter["handler"], letter["reason"]) == ("payments.charge_customer", "max_attempts")
    assert await shop.status(order_id) == "placed"
    await kept_every_promise(shop, order_id, stuck=frozenset({order_id}))

    await shop.events.operations.redrive([UUID(letter["id"])], actor="test")
    await shop.until_status(order_id, "confirmed")
    await kept_every_promise(shop, order_id)


async def test_the_journal_sees_every_event(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "example_app"):
        order_id = await shop.order()
        await shop.until_status(order_id, "confirmed")
        await shop.until(lambda: journal_has(shop, order_id, caplog))
    names = {event["name"] for event in await shop.events_of(order_id)}
    assert names == {
        "orders.order.placed",
        "inventory.stock.reserved",
        "payments.payment.captured",
        "orders.order.confirmed",
    }


async def journal_has(shop: Shop, order_id: UUID, caplog: pytest.LogCaptureFixture) -> bool:
    seen = {message.rpartition(" ")[0] for message in caplog.messages}
    return {f"{event['name']} {event['id']}" for event in await shop.events_of(order_id)} <= seen


async def test_the_first_page_links_to_the_others(shop: Shop) -> None:
    links = (await shop.client.get("/")).json()
    assert set(links) == {"docs", "dashboard", "ready"}
    for url in links.values():
        assert (await shop.client.get(url)).is_success


async def test_unknown_orders_and_articles_are_not_found(shop: Shop) -> None:
    assert (await shop.client.get(f"/orders/{UUID(int=0)}")).status_code == 404
    assert (await shop.client.get("/stock/UNICORN")).status_code == 404
