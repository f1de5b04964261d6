"""Nobody comes in unasked: every route of the router, every role, and the tricks that have opened other dashboards."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from fastapi_events.api.actor import Permission
from fastapi_events.settings import EventsSettings
from tests.dashboard.ground import Ground, Port, app_of, by_header, client_of

OPEN = {"/events/health", "/events/health/ready", "/events/dashboard/static/{version}/{name}"}
SOME_ID = "01a1fd14-aa10-74a7-a53f-8718d62eae79"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def guarded(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of every route of ours but the open ones, read from the application."""
    for route in iter_route_contexts(app.routes):
        path: str = getattr(route, "path", "") or ""
        if path.startswith("/events") and path not in OPEN:
            for method in getattr(route, "methods", None) or ():
                yield method, re.sub(r"{(event|delivery|replay|run|schedule)_id}", SOME_ID, path)


async def request(app: FastAPI, method: str, path: str, **headers: str) -> Any:
    async with client_of(app, headers=headers) as client:
        if method == "POST" and "/api/" in path:
            return await client.request(method, path, json={"ids": [SOME_ID], "id": SOME_ID, "reason": "x"})
        content = f"id={SOME_ID}&reason=x" if method == "POST" else None
        query = {"action": "redrive", "id": SOME_ID} if path.endswith("confirm") else None
        return await client.request(method, path, content=content, params=query, headers=FORM if content else None)


def closed(port: Port) -> FastAPI:
    return app_of(replace(port, settings=EventsSettings(development=False)))


def test_the_list_of_routes_is_complete(shop: Ground) -> None:
    routes = set(guarded(shop.app))
    assert len(routes) >= 20
    assert ("POST", "/events/dashboard/dead-letters/discard") in routes
    assert ("GET", "/events/api/overview") in routes


async def test_everything_is_closed_until_somebody_is_let_in(shop: Ground) -> None:
    app = closed(shop.port)
    for method, path in guarded(app):
        answer = await request(app, method, path)
        assert answer.status_code == 403, (method, path)
        assert "authorize=" in answer.text, "the mend is told"
        assert "EVENTS_DEV=1" in answer.text
    now = await shop.connection.fetch("SELECT DISTINCT state FROM events.delivery")
    assert {row["state"] for row in now} == {"dead", "waiting"}


async def test_development_opens_everything_and_only_by_its_setting(shop: Ground) -> None:
    for method, path in guarded(shop.app):
        assert (await request(shop.app, method, path)).status_code in (200, 303, 404, 422), (method, path)


async def test_an_authorise_of_the_users_rules_in_development_too(shop: Ground) -> None:
    app = app_of(replace(shop.port, authorize=by_header))
    for method, path in guarded(app):
        answer = await request(app, method, path)
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"] == "Bearer", "the host's own headers are kept"


def needed(method: str, path: str) -> Permission:
    if "erase" in path or "erasure" in path:
        return Permission.admin
    if path.endswith("/edit"):
        return Permission.edit
    if method == "POST" or "/gates/" in path or path.endswith(("/confirm", "/audit", "/actions", "/replays/new")):
        return Permission.operate
    return Permission.view


async def test_every_route_asks_for_its_permission(shop: Ground) -> None:
    app = app_of(replace(shop.port, authorize=by_header))
    for role in [(), *((permission,) for permission in Permission)]:
        for method, path in guarded(app):
            answer = await request(app, method, path, **{"X-Permissions": ",".join(role)})
            may = needed(method, path) in role
            assert (answer.status_code != 403) is may, (role, method, path, answer.status_code)
            if not may:
                assert f"lacks the permission &#39;{needed(method, path)}&#39;" in answer.text.replace("'", "&#39;")


async def test_every_action_refuses_what_another_site_sends(shop: Ground) -> None:
    for method, path in guarded(shop.app):
        if method == "POST":
            answer = await request(shop.app, method, path, **{"Sec-Fetch-Site": "cross-site"})
            assert (answer.status_code, "Refused" in answer.text) == (403, True), path


@pytest.mark.parametrize("returned", [None, True, {"id": "x", "permissions": ["view"]}, "admin"])
async def test_whoever_is_no_actor_is_nobody(shop: Ground, returned: Any) -> None:
    app = app_of(replace(shop.port, authorize=lambda: returned))
    for path in ("/events/api/overview", "/events/dashboard"):
        answer = await request(app, "GET", path)
        assert answer.status_code == 403
        assert "not an Actor" in answer.text


TRICKS = [
        "/events/api/overview/health", "/events/health/../api/overview", "/events/health;/api/overview",
        "/events/health%2f..%2fapi/overview", "/events//health/../api/overview",
        "/events/health/ready/../../api/events",
        "/events/dashboard/static/../../api/overview", "/events/dashboard/static/x/..%2f..%2foverview",
        "/events/api/events/health", "/events/dashboard/events/health", "/events/dashboard/health",
]  # fmt: skip


async def test_an_exempt_name_in_the_path_exempts_nothing(shop: Ground) -> None:
    app = closed(shop.port)
    for path in TRICKS:
        answer = await request(app, "GET", path)
        assert answer.status_code in (401, 403, 404, 422), (path, answer.text[:200])
        assert "payments.capture_payment" not in answer.text


async def test_without_operate_the_buttons_are_gone_too(shop: Ground) -> None:
    app = app_of(replace(shop.port, authorize=by_header))
    reader = await request(app, "GET", "/events/dashboard/dead-letters", **{"X-Permissions": "view"})
    assert reader.status_code == 200
    assert "Redrive" not in reader.text
    assert "Audit" not in reader.text
    operator = await request(app, "GET", "/events/dashboard/dead-letters", **{"X-Permissions": "view,operate"})
    assert "Redrive selected" in operator.text


async def test_payloads_need_their_permission(shop: Ground) -> None:
    app = app_of(replace(shop.port, authorize=by_header))
    event: UUID = shop.seeded.events[0]["id"]
    for permissions, shown in (("view", False), ("view,view_payload", True)):
        page = await request(app, "GET", f"/events/dashboard/events/{event}", **{"X-Permissions": permissions})
        data = await request(app, "GET", f"/events/api/events/{event}", **{"X-Permissions": permissions})
        assert ("customer0@example.org" in page.text) is shown
        assert ("customer0@example.org" in data.text) is shown
        assert data.json()["payload_visible"] is shown
        letter = await request(
            app, "GET", f"/events/dashboard/dead-letters/{shop.seeded.dead[0]}", **{"X-Permissions": permissions}
        )
        assert ("@example.org" in letter.text) is shown
        for path in ("/events/api/events", "/events/dashboard/events"):
            searched = await request(app, "GET", f"{path}?filter=payload.sku:C-3", **{"X-Permissions": permissions})
            assert (searched.status_code == 200) is shown, "a search is a way of reading"


async def test_the_actor_is_recorded(shop: Ground) -> None:
    app = app_of(replace(shop.port, authorize=by_header))
    async with client_of(app, headers={"X-Permissions": "operate"}) as client:
        body = {"ids": [str(shop.seeded.dead[0])]}
        assert (await client.post("/events/api/dead-letters/redrive", json=body)).status_code == 200
    actor = await shop.connection.fetchval("SELECT actor FROM events.operator_action ORDER BY acted_at DESC LIMIT 1")
    assert actor == "ada@shop.example"
