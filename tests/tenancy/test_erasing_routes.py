"""Erasing by the JSON API and by the pages."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio

from fastapi_events.model.erasure import ERASED_PAYLOAD
from tests.delivery.stage import Stage
from tests.tenancy.two_tenants import FOREIGN, OWN, Ground, two_tenants

API = "/events/api/erasures"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest_asyncio.fixture
async def ground(stage: Stage) -> AsyncIterator[Ground]:
    yield await two_tenants(stage)


@pytest_asyncio.fixture
async def client(ground: Ground) -> AsyncIterator[httpx.AsyncClient]:
    async with ground.client() as client:
        yield client


async def erased(ground: Ground) -> list[str]:
    rows = await ground.stage.rows(
        "SELECT tenant_id FROM events.event WHERE payload = $1::jsonb ORDER BY position", ERASED_PAYLOAD
    )
    return [row["tenant_id"] for row in rows]


async def test_a_look_and_the_act(ground: Ground, client: httpx.AsyncClient) -> None:
    of = {"aggregate": "invoice", "aggregate_id": f"{ground.own.canary}-1"}
    ahead = await client.post(f"{API}/preview", json=of)
    assert ahead.json() == {"found": 2, "events": 2, "deliveries": 1, "attempts": 1}
    assert await erased(ground) == []
    done = await client.post(API, json=of | {"reason": "request 12"})
    assert done.json() == ahead.json()
    assert await erased(ground) == [OWN, OWN]
    again = await client.post(API, json=of | {"reason": "request 12"})
    assert again.json() == {"found": 2, "events": 0, "deliveries": 0, "attempts": 0}
    [newest, *_] = (await client.get("/events/api/actions")).json()["actions"]
    assert (newest["action"], newest["actor"], newest["details"]["reason"]) == (
        "erase",
        "ops@shop.example",
        "request 12",
    )
    assert ground.own.canary not in newest["target"]


async def test_what_is_refused(ground: Ground, client: httpx.AsyncClient) -> None:
    of = {"aggregate": "invoice", "aggregate_id": f"{ground.own.canary}-1"}
    for body, status in (
        (of, 422), (of | {"reason": ""}, 422), (of | {"reason": " "}, 409), (of | {"reason": "x" * 501}, 422),
        ({"aggregate": "invoice", "reason": "x"}, 422), (of | {"aggregate_id": "", "reason": "x"}, 422),
        (of | {"aggregate_id": "a\x00", "reason": "x"}, 409), (of | {"tenant_id": FOREIGN, "reason": "x"}, 404),
        (of | {"tenant_id": None, "reason": "x"}, 404), (of | {"aggregate_id": "9", "reason": "x"}, 404),
    ):  # fmt: skip
        answer = await client.post(API, json=body)
        assert answer.status_code == status, (body, answer.text)
    strange = await client.post(API, json=of | {"reason": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert strange.status_code == 403
    assert await erased(ground) == []


async def test_whose_it_is(ground: Ground) -> None:
    for tenant in (OWN, FOREIGN):
        await ground.events.publish(_bill("7"), tenant_id=tenant)
    of: dict[str, Any] = {"aggregate": "invoice", "aggregate_id": "7", "reason": "x"}
    async with ground.client("*") as staff:
        answer = await staff.post(API, json=of)
        assert answer.status_code == 409
        assert "tenant_id" in answer.text
        assert (await staff.post(API, json=of | {"tenant_id": FOREIGN})).json()["events"] == 1
    assert await erased(ground) == [FOREIGN]


async def test_by_the_pages(ground: Ground, client: httpx.AsyncClient) -> None:
    path = f"/events/dashboard/events/{ground.own.events[0]}"
    page = await client.get(path)
    assert f"{path}/erase" in page.text
    asks = await client.get(f"{path}/erase")
    assert "Erase the content of 2 events?" in asks.text
    assert "There is no way back." in asks.text
    refused = await client.post(f"{path}/erase", content="reason=+", headers=FORM)
    assert refused.status_code == 422
    assert "needs a reason" in refused.text
    assert (await client.post(f"{path}/erase", json={"reason": "x"})).status_code == 415
    assert await erased(ground) == []
    done = await client.post(f"{path}/erase", content=urlencode({"reason": "request 12"}), headers=FORM)
    assert (done.status_code, done.headers["location"]) == (303, path)
    assert await erased(ground) == [OWN, OWN]
    page = await client.get(path)
    assert "fastapi_events.erased" in page.text
    assert f"no money: {ground.own.canary}" not in page.text


async def test_without_the_permission_there_is_no_button(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi_events import Actor, Permission

    everything_else = frozenset(Permission) - {Permission.admin}
    ground.app.dependency_overrides[ground.events.authorize] = lambda: Actor("x", "", everything_else, None)
    async with ground.client() as client:
        path = f"/events/dashboard/events/{ground.own.events[0]}"
        assert "erase" not in (await client.get(path)).text.lower()
        assert (await client.get(f"{path}/erase")).status_code == 403


async def test_an_event_without_an_aggregate_id(ground: Ground, client: httpx.AsyncClient) -> None:
    from tests.delivery.stage import Pinged

    published = await ground.events.publish(Pinged(), tenant_id=OWN)
    path = f"/events/dashboard/events/{published.event_id}"
    assert "erase" not in (await client.get(path)).text.lower()
    assert (await client.get(f"{path}/erase")).status_code == 422


def _bill(invoice: str) -> Any:
    from tests.tenancy.two_tenants import Billed

    return Billed(invoice=invoice, text="x")
