"""Pausing, resuming and closing breakers, from the pages and by the JSON API."""

from dataclasses import replace
from typing import Any

import pytest

from tests.dashboard.ground import Ground, app_of, by_header, client_of
from tests.dashboard.test_actions import hidden_fields, post

PAGES, API = "/events/dashboard", "/events/api"
HANDLER = "mail.send_confirmation"


async def handler(ground: Ground) -> dict[str, Any]:
    """The handler as the JSON API shows it."""
    listed = (await ground.client.get(f"{API}/handlers")).json()
    return next(one for one in listed if one["name"] == HANDLER)


async def test_a_handler_is_paused_and_goes_on(shop: Ground) -> None:
    for act, told, again in (
        ("pause", "It is paused.", "it was paused already"),
        ("resume", "It goes on.", "it was not paused"),
    ):
        listing = await shop.client.get(f"{PAGES}/consumers")
        assert f"gates/{act}?handler={HANDLER}" in listing.text
        asks = await shop.client.get(f"{PAGES}/gates/{act}", params={"handler": HANDLER})
        assert f"{act.capitalize()} {HANDLER}?" in asks.text
        fields = [*hidden_fields(asks.text), ("reason", "agreed with the provider")]
        done = await post(shop, f"{PAGES}/gates/{act}", fields)
        assert done.status_code == 303
        assert told in (await shop.client.get(done.headers["location"])).text
        assert ((await handler(shop))["paused_at"] is not None) == (act == "pause")
        done = await post(shop, f"{PAGES}/gates/{act}", fields)
        assert again in (await shop.client.get(done.headers["location"])).text
    resumed = (await shop.client.get(f"{API}/actions")).json()["actions"][0]
    assert (resumed["action"], resumed["target"]) == ("resume_handler", HANDLER)
    assert resumed["details"]["reason"] == "agreed with the provider"


async def test_a_lane_is_paused_and_goes_on(shop: Ground) -> None:
    asks = await shop.client.get(f"{PAGES}/gates/pause", params={"lane": "change"})
    assert "Pause lane change?" in asks.text
    done = await post(shop, f"{PAGES}/gates/pause", hidden_fields(asks.text))
    told = (await shop.client.get(done.headers["location"])).text
    assert "It is paused." in told
    assert "gates/resume?lane=change" in told
    paused = {lane["lane"] for lane in (await shop.client.get(f"{API}/overview")).json()["lanes"] if lane["paused"]}
    assert paused == {"change"}


async def test_an_open_breaker_is_closed(shop: Ground) -> None:
    assert "gates/reset-breaker" not in (await shop.client.get(f"{PAGES}/consumers")).text
    await shop.connection.execute(
        "INSERT INTO events.breaker (handler_id, opened_at, probe_at) "
        "SELECT id, clock_timestamp(), clock_timestamp() FROM events.handler WHERE name = $1", HANDLER,
    )  # fmt: skip
    assert f"gates/reset-breaker?handler={HANDLER}" in (await shop.client.get(f"{PAGES}/consumers")).text
    asks = await shop.client.get(f"{PAGES}/gates/reset-breaker", params={"handler": HANDLER})
    done = await post(shop, f"{PAGES}/gates/reset-breaker", hidden_fields(asks.text))
    assert "Its circuit breaker is closed." in (await shop.client.get(done.headers["location"])).text
    assert (await handler(shop))["breaker_opened_at"] is None


async def test_by_the_api(shop: Ground) -> None:
    async def changed(path: str, **body: str) -> bool:
        answer = await shop.client.post(f"{API}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        told: bool = answer.json()["changed"]
        return told

    assert [await changed("pause", handler=HANDLER), await changed("pause", handler=HANDLER)] == [True, False]
    assert await changed("resume", handler=HANDLER, reason="done")
    assert await changed("pause", lane="every")
    lanes = (await shop.client.get(f"{API}/overview")).json()["lanes"]
    assert all(lane["paused"] for lane in lanes)
    assert await changed("resume", lane="every")
    assert not await changed("breakers/reset", handler=HANDLER)


@pytest.mark.parametrize(
    ("path", "given", "status", "reason"),
    [
        ("pause", {}, 422, "either a handler or a lane"),
        ("pause", {"handler": HANDLER, "lane": "change"}, 422, "either a handler or a lane"),
        ("pause", {"lane": "sideways"}, 422, "lane"),
        ("resume", {"handler": "mail.send_confirmations"}, 409, "Did you mean"),
        ("pause", {"handler": HANDLER, "reason": "x" * 501}, 422, "500"),
        ("breakers/reset", {"lane": "change"}, 422, "handler"),
    ],
)
async def test_what_is_refused(shop: Ground, path: str, given: dict[str, str], status: int, reason: str) -> None:
    before = (await shop.client.get(f"{API}/actions")).json()
    answer = await shop.client.post(f"{API}/{path}", json=given)
    assert answer.status_code == status
    assert reason in answer.text
    assert (await shop.client.get(f"{API}/actions")).json() == before


async def test_pages_refuse_what_nobody_can_mean(shop: Ground) -> None:
    for path in (
        "pause",
        "pause?handler=a&lane=change",
        "pause?lane=x",
        "reset-breaker?lane=change",
        "stop?lane=change",
    ):
        assert (await shop.client.get(f"{PAGES}/gates/{path}")).status_code == 422, path
    stranger = await shop.client.get(f"{PAGES}/gates/pause", params={"handler": "shop.nobody"})
    assert stranger.status_code == 409
    assert "no handler" in stranger.text


async def test_who_may(shop: Ground) -> None:
    app = app_of(replace(shop.port, authorize=by_header))
    async with client_of(app, headers={"X-Permissions": "view"}) as client:
        assert "gates/" not in (await client.get(f"{PAGES}/consumers")).text
        assert "gates/" not in (await client.get(PAGES)).text
        assert (await client.get(f"{PAGES}/gates/pause", params={"handler": HANDLER})).status_code == 403
        assert (await client.post(f"{API}/pause", json={"handler": HANDLER})).status_code == 403
    crossing = {"X-Permissions": "view,operate", "Sec-Fetch-Site": "cross-site"}
    async with client_of(app, headers=crossing) as client:
        assert (await client.post(f"{API}/pause", json={"handler": HANDLER})).status_code == 403
