"""Ids from Python: a UUID or its text, and a clear refusal of anything else."""

from typing import Any

import pytest

from fastapi_events.errors import InvalidFilter, OperationRefused
from tests.dashboard.ground import Ground


async def states(ground: Ground, ids: list[Any]) -> list[str]:
    rows = await ground.connection.fetch("SELECT id, state FROM events.delivery WHERE id = ANY($1)", ids)
    found = {row["id"]: row["state"] for row in rows}
    return [found[one] for one in ids]


async def test_deliveries_are_named_by_uuids_or_their_text(shop: Ground) -> None:
    one, two, three, four = shop.seeded.dead[:4]
    operations = shop.port.operations
    redriven = await operations.redrive([one, str(two)], actor="me")
    discarded = await operations.discard([three, str(four).upper()], actor="me", reason="test order")
    assert (redriven.changed, discarded.changed) == (2, 2)
    assert await states(shop, [one, two, three, four]) == ["waiting", "waiting", "discarded", "discarded"]


AN_ID = "019aa5d2-7c1e-7000-8000-0123456789ab"


@pytest.mark.parametrize("wrong", ["x", "", 7, None, b"x", AN_ID[:-1], AN_ID + "0"])
async def test_what_is_no_id_is_refused_before_anything_is_changed(shop: Ground, wrong: Any) -> None:
    operations, one = shop.port.operations, shop.seeded.dead[0]
    before = await operations.actions()
    with pytest.raises(OperationRefused, match="is no delivery id, which is a UUID"):
        await operations.redrive([one, wrong], actor="me")
    with pytest.raises(OperationRefused, match="is no delivery id, which is a UUID"):
        await operations.discard([one, wrong], actor="me", reason="test order")
    assert await states(shop, [one]) == ["dead"]
    assert await operations.actions() == before


async def test_an_id_alone_is_no_list(shop: Ground) -> None:
    one: Any = shop.seeded.dead[0]
    for alone in (one, str(one)):
        with pytest.raises(OperationRefused, match=r"Put it in brackets"):
            await shop.port.operations.redrive(alone, actor="me")


async def test_what_is_looked_up_is_named_in_the_same_way(shop: Ground) -> None:
    observe, one = shop.port.observe, shop.seeded.dead[0]
    delivery = await observe.delivery(str(one))
    assert delivery is not None
    assert delivery == await observe.delivery(one)
    assert await observe.event(str(delivery.event_id)) == await observe.event(delivery.event_id)
    wrong: Any
    for wrong in ("x", None, 7):
        with pytest.raises(InvalidFilter, match=r"^delivery_id=.* is not a UUID"):
            await observe.delivery(wrong)
        with pytest.raises(InvalidFilter, match=r"^event_id=.* is not a UUID"):
            await observe.event(wrong)
