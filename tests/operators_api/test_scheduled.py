"""The schedule for people and programs: what waits, in pages, how much of it is late, and cancelling one."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from fastapi_events.api.actor import Permission
from fastapi_events.errors import InvalidFilter
from tests.dashboard.ground import Ground, app_of, by_header, client_of
from tests.dashboard.test_actions import hidden_fields, post

ROOM = "/events/dashboard/scheduled"
SCHEDULE = """
    INSERT INTO events.scheduled_event (id, due_at, lane, partition, correlation_id, occurred_at, name, aggregate,
                                        aggregate_id, tenant_id, actor, payload)
    SELECT gen_random_uuid(), $1, 1, 0, gen_random_uuid(), now(), 'orders.payment.reminded', 'order', 'o-' || n, 'acme',
           'ann', '{"card": "4111"}'
    FROM generate_series(1, $2) n
    RETURNING id, number
"""


async def schedule(ground: Ground, ahead: float, many: int = 1) -> list[UUID]:
    """Schedule events that are due so many seconds from now; their ids, in order."""
    now: datetime = await ground.connection.fetchval("SELECT clock_timestamp()")
    rows = await ground.connection.fetch(SCHEDULE, now + timedelta(seconds=ahead), many)
    return [row["id"] for row in sorted(rows, key=lambda row: row["number"])]


async def test_page_after_page_without_gap_or_overlap(shop: Ground) -> None:
    """Many are due at one moment, as at midnight."""
    later, same, first = await schedule(shop, 900), await schedule(shop, 600, 7), await schedule(shop, 60)
    found: list[UUID] = []
    cursor: str | None = None
    for _ in range(5):
        page = await shop.port.observe.scheduled(cursor=cursor, limit=2)
        assert (page.scheduled, page.capped, page.overdue) == (9, False, 0)
        found += [event.id for event in page.events]
        cursor = page.later
    assert (found, cursor) == ([*first, *same, *later], None)
    for wrong in ("x", "1-2"):
        with pytest.raises(InvalidFilter):
            await shop.port.observe.scheduled(cursor=wrong)
    assert (await shop.port.observe.scheduled(cursor=f"{'9' * 16}-{'f' * 32}")).events == ()


async def test_as_json(shop: Ground) -> None:
    [waiting] = await schedule(shop, 600)
    answer = await shop.client.get("/events/api/scheduled")
    [event] = answer.json()["events"]
    assert (event["id"], event["name"], event["lane"]) == (str(waiting), "orders.payment.reminded", "change")
    assert "payload" not in event
    for path, status in (("?limit=0", 422), ("?cursor=x", 422)):
        assert (await shop.client.get(f"/events/api/scheduled{path}")).status_code == status
    body = {"id": str(waiting), "reason": "paid"}
    assert (await shop.client.post("/events/api/scheduled/cancel", json=body)).json() == {"cancelled": True}
    assert (await shop.client.post("/events/api/scheduled/cancel", json=body)).json() == {"cancelled": False}
    for wrong in ({}, {"id": "x"}, body | {"reason": "x" * 501}, body | {"reason": "\x00"}):
        assert (await shop.client.post("/events/api/scheduled/cancel", json=wrong)).status_code == 422
    newest, first = (await shop.client.get("/events/api/actions")).json()["actions"][:2]
    assert (first["action"], first["target"]) == ("cancel_scheduled", str(waiting))
    assert first["details"] == {"reason": "paid", "cancelled": True, "event": "orders.payment.reminded"}
    assert newest["details"]["cancelled"] is False


async def test_whose_it_is_to_cancel(shop: Ground) -> None:
    [waiting] = await schedule(shop, 600)
    app = app_of(replace(shop.port, authorize=by_header))
    body: dict[str, Any] = {"id": str(waiting)}
    async with client_of(app, headers={"X-Permissions": Permission.view.value}) as client:
        assert (await client.post("/events/api/scheduled/cancel", json=body)).status_code == 403
        page = await client.get(ROOM)
        assert "orders.payment.reminded" in page.text
        assert "scheduled/confirm" not in page.text
        assert (await client.get(f"{ROOM}/confirm", params=body)).status_code == 403
    headers = {"X-Permissions": "view,operate", "Sec-Fetch-Site": "cross-site"}
    async with client_of(app, headers=headers) as client:
        assert (await client.post(f"{ROOM}/cancel", data=body)).status_code == 403
    assert await shop.connection.fetchval("SELECT count(*) FROM events.scheduled_event") == 1


async def test_by_the_page(shop: Ground) -> None:
    [waiting], others = await schedule(shop, 60), await schedule(shop, 600, 50)
    page = await shop.client.get(ROOM)
    assert f"confirm?id={waiting}" in page.text
    assert str(others[-1]) not in page.text
    [path] = {part.split('"')[0] for part in page.text.split('href="') if "cursor=" in part.split('"')[0]}
    assert str(others[-1]) in (await shop.client.get(path)).text
    asks = await shop.client.get(f"{ROOM}/confirm", params={"id": str(waiting)})
    assert "Cancel this event?" in asks.text
    done = await post(shop, f"{ROOM}/cancel", [*hidden_fields(asks.text), ("reason", "paid")])
    assert "nobody will handle it" in (await shop.client.get(done.headers["location"])).text
    again = await post(shop, f"{ROOM}/cancel", hidden_fields(asks.text))
    assert "was not scheduled any more" in (await shop.client.get(again.headers["location"])).text
    for fields in ([("id", "x")], [("reason", "x")], [("id", str(uuid4())), ("reason", "\x00")]):
        assert (await post(shop, f"{ROOM}/cancel", fields)).status_code == 422
    assert (await shop.client.get(f"{ROOM}?cursor=x")).status_code == 422


async def test_at_a_glance(shop: Ground) -> None:
    await shop.seeding.settle_all()
    assert (await shop.port.observe.overview()).scheduled == 0
    assert await shop.port.observe.oldest_pending_age() is None
    await schedule(shop, 600, 3)
    overview = await shop.port.observe.overview()
    assert (overview.scheduled, overview.scheduled_capped) == (3, False)
    assert await shop.port.observe.oldest_pending_age() is None
    assert not [concern for concern in overview.concerns if concern.page == "scheduled"]
    await schedule(shop, -120, 2)
    age = await shop.port.observe.oldest_pending_age()
    assert age is not None
    assert age >= 120
    [concern] = [one for one in (await shop.port.observe.overview()).concerns if one.page == "scheduled"]
    assert (concern.what, concern.severity) == ("2 scheduled events overdue", "warning")
    assert (await shop.port.observe.scheduled()).overdue == 2
    assert "2 overdue" in (await shop.client.get(ROOM)).text
    await shop.connection.execute("UPDATE events.worker SET lease_until = now() - interval '1 hour'")
    [concern] = [one for one in (await shop.port.observe.overview()).concerns if one.page == "scheduled"]
    assert (concern.severity, "Start a worker" in concern.why) == ("error", True)
