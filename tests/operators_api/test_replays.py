"""Replays for programs: counted, started, looked at and changed, by those who may."""

from dataclasses import replace
from uuid import uuid4

from tests.dashboard.ground import Ground, app_of, by_header, client_of

HANDLER = "mail.send_confirmation"
REPLAYS = "/events/api/replays"
ROOM = "/events/dashboard/replays"


async def test_as_json(shop: Ground) -> None:
    counted = await shop.client.post(f"{REPLAYS}/preview", json={"handler": HANDLER, "rate": 2})
    preview = counted.json()
    assert (preview["count"], preview["capped"], preview["seconds"]) == (73, False, 36.5)
    assert "does not know the handler" in preview["warnings"][0]
    unconfirmed = await shop.client.post(REPLAYS, json={"handler": HANDLER})
    assert (unconfirmed.status_code, "expected=73" in unconfirmed.json()["detail"]) == (409, True)
    order = {"handler": HANDLER, "expected": 73, "reason": "the template was wrong", "rate": 2}
    started = await shop.client.post(REPLAYS, json=order)
    replay = started.json()
    assert (started.status_code, replay["state"], replay["total"]) == (201, "running", 73)
    assert (replay["created_by"], replay["reason"]) == ("developer", "the template was wrong")
    assert (await shop.client.post(REPLAYS, json=order)).status_code == 409, "one at a time of each handler"
    for act, changed, state in (
        ("resume", False, "running"), ("pause", True, "paused"), ("pause", False, "paused"),
        ("resume", True, "running"), ("cancel", True, "cancelled"), ("cancel", False, "cancelled"),
    ):  # fmt: skip
        answer = await shop.client.post(f"{REPLAYS}/{replay['id']}/{act}", json={"reason": "x"})
        assert answer.json() == {"changed": changed}, act
        assert (await shop.client.get(f"{REPLAYS}/{replay['id']}")).json()["state"] == state
    [listed] = (await shop.client.get(REPLAYS, params={"handler": HANDLER})).json()["replays"]
    assert listed["id"] == replay["id"]
    assert (await shop.client.get(REPLAYS, params={"handler": "x"})).json() == {"replays": []}
    [newest] = (await shop.client.get("/events/api/actions", params={"limit": 1})).json()["actions"]
    assert (newest["action"], newest["target"], newest["details"]["changed"]) == ("cancel_replay", HANDLER, False)


async def test_wrong_requests_are_answered_with_the_reason(shop: Ground) -> None:
    for body, status in (
        ({}, 422), ({"handler": HANDLER, "rate": 0}, 422), ({"handler": HANDLER, "from_position": -1}, 422),
        ({"handler": HANDLER, "since": "soon"}, 422), ({"handler": HANDLER, "since": "2026-01-31T12:00:00"}, 409),
        ({"handler": "nobody"}, 409), ({"handler": "a\x00"}, 409), ({"handler": HANDLER, "events": ["\x00"]}, 409),
        ({"handler": HANDLER, "key": "book/1"}, 409),
    ):  # fmt: skip
        for path in (f"{REPLAYS}/preview", REPLAYS):
            answer = await shop.client.post(path, json=body)
            assert answer.status_code == status, (body, answer.text)
            assert answer.json()["detail"]
    for path in (f"{REPLAYS}/{uuid4()}", f"{ROOM}/{uuid4()}"):
        assert (await shop.client.get(path)).status_code == 404
    assert (await shop.client.post(f"{REPLAYS}/{uuid4()}/cancel", json={})).status_code == 404
    for query in ("rate=fast", "since=soon", "from_position=x", "correlation_id=1", "aggregate=%00"):
        answer = await shop.client.get(f"{ROOM}/new?handler={HANDLER}&{query}")
        assert answer.status_code == 422, query
        assert "That cannot be replayed." in answer.text


async def test_who_may_look_may_not_start(shop: Ground) -> None:
    app = app_of(replace(shop.port, authorize=by_header))
    body = {"handler": HANDLER, "expected": 100}
    started = (await shop.client.post(REPLAYS, json=body)).json()
    acting = [(path, {"handler": HANDLER}) for path in (REPLAYS, f"{REPLAYS}/preview")]
    acting += [(f"{REPLAYS}/{started['id']}/{act}", {}) for act in ("pause", "resume", "cancel")]
    async with client_of(app, headers={"X-Permissions": "view"}) as viewer:
        for path in (REPLAYS, f"{REPLAYS}/{started['id']}", ROOM, f"{ROOM}/{started['id']}"):
            page = await viewer.get(path)
            assert page.status_code == 200
            assert not any(word in page.text for word in ("New replay…", "Pause…", "Cancel…"))
        for path, sent in acting:
            assert (await viewer.post(path, json=sent)).status_code == 403, path
        for path in (f"{ROOM}/new", f"{ROOM}/{started['id']}/confirm?action=cancel"):
            assert (await viewer.get(path)).status_code == 403, path
    async with client_of(app, headers={"X-Permissions": "view,operate", "Sec-Fetch-Site": "cross-site"}) as elsewhere:
        for path, sent in acting:
            assert (await elsewhere.post(path, json=sent)).status_code == 403, path
    assert (await shop.client.get(f"{REPLAYS}/{started['id']}")).json()["state"] == "running"
