"""What Python gives to readings and actions: a time without a zone, or another kind of thing, is refused."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fastapi_events.errors import InvalidFilter, OperationRefused
from tests.dashboard.ground import Ground

NAIVE = datetime(2026, 1, 31)  # noqa: DTZ001


@pytest.mark.parametrize(("moment", "told"), [(NAIVE, "has no time zone"), ("2026-01-31", "is no datetime")])
async def test_a_moment_has_a_time_zone(shop: Ground, moment: Any, told: str) -> None:
    operations, observe = shop.port.operations, shop.port.observe
    with pytest.raises(OperationRefused, match=rf"^changed_before=\S+ {told}. Pass datetime"):
        await operations.redrive_matching(changed_before=moment, actor="me")
    with pytest.raises(OperationRefused, match=rf"^changed_before=\S+ {told}. Pass datetime"):
        await operations.discard_matching(changed_before=moment, actor="me", reason="x")
    with pytest.raises(InvalidFilter, match=rf"^cut_off=\S+ {told}. Pass datetime"):
        await observe.dead_letter_count(cut_off=moment)
    assert await observe.dead_letter_count(cut_off=datetime.now(UTC)) == 7


@pytest.mark.parametrize("wrong", ["x", "3", 1.5, True, -1, 2**63])
async def test_a_place_is_a_position(shop: Ground, wrong: Any) -> None:
    for name in ("before", "after"):
        with pytest.raises(InvalidFilter, match=rf"^{name}="):
            await shop.port.observe.events(**{name: wrong})


async def test_a_limit_is_a_number(shop: Ground) -> None:
    wrong: Any = "10"
    with pytest.raises(InvalidFilter, match="limit='10' is no whole number"):
        await shop.port.observe.events(limit=wrong)
    with pytest.raises(OperationRefused, match="limit='10' is no whole number"):
        await shop.port.operations.redrive_matching(changed_before=datetime.now(UTC), limit=wrong, actor="me")


@pytest.mark.parametrize("wrong", [["acme"], None, 7, frozenset({"acme"})])
def test_tenants_are_named_one_by_one(shop: Ground, wrong: Any) -> None:
    with pytest.raises(InvalidFilter, match=r"a tenant's id is a text.*within\(\*ids\)"):
        shop.port.observe.within("acme", wrong)
    with pytest.raises(OperationRefused, match=r"a tenant's id is a text.*within\(\*ids\)"):
        shop.port.operations.within(wrong)
