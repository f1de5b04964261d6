"""The API as a contract: its document, its headers, and what importing it costs."""

import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest
from fastapi import FastAPI

from fastapi_events.api.routes import api_router, health_router
from tests.dashboard.ground import Ground, client_of

READINGS = ["overview", "events", "dead-letters", "dead-letters/groups", "handlers", "workers", "actions"]


async def test_it_is_in_the_document_when_asked_for_and_not_otherwise(shop: Ground) -> None:
    assert shop.app.openapi()["paths"] == {}
    app = FastAPI()
    app.include_router(api_router(shop.port, include_in_schema=True))
    app.include_router(health_router(shop.port, include_in_schema=True))
    document = app.openapi()
    assert {f"/api/{path}" for path in READINGS} <= set(document["paths"])
    assert document["paths"]["/api/dead-letters/discard"]["post"]["requestBody"]
    assert document["paths"]["/health/ready"]["get"]["responses"]["503"]
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


async def test_every_answer_carries_the_headers(shop: Ground) -> None:
    paths = [f"/events/api/{path}" for path in READINGS]
    for path in [*paths, "/events/api/events?filter=x", "/events/api/events/nothing", "/events/health"]:
        answer = await shop.client.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_overview_adds_up(shop: Ground) -> None:
    overview = (await shop.client.get("/events/api/overview")).json()
    assert (overview["dead"], overview["waiting"]) == (7, 2)
    assert sum(overview["published_per_minute"]) == 77
    assert overview["published_exact"] is True
    assert overview["published_per_minute"][-1] == 6
    concerns = [concern["what"] for concern in overview["concerns"]]
    assert concerns == [
        "payments.capture_payment has 4 dead letters", "mail.send_confirmation has 3 dead letters",
        "1 process ended without saying so",
    ]  # fmt: skip
    lanes = {lane["lane"]: lane for lane in overview["lanes"]}
    assert (lanes["change"]["pending"], lanes["inbound"]["pending"]) == (3, 0)
    assert 0 < lanes["change"]["latency_p50"] < lanes["change"]["latency_p99"] < 0.1
    assert [(worker["alive"], worker["drains"]) for worker in overview["workers"]] == [
        (True, True),
        (True, True),
        (False, True),
    ]


async def test_a_silent_group_is_an_error_on_the_overview(bare: Ground) -> None:
    await bare.seeding.handler("a.first", "shop.order.placed")
    await bare.seeding.event("shop.order.placed", {})
    overview = (await bare.client.get("/events/api/overview")).json()
    assert overview["concerns"][0]["severity"] == "error"
    assert overview["concerns"][0]["what"] == "No process drains shop"


async def test_an_event_that_is_not_there(shop: Ground) -> None:
    async with client_of(shop.app) as client:
        answer = await client.get("/events/api/events/01a1fd14-aa10-74a7-a53f-8718d62eae79")
    assert answer.status_code == 404


def test_reading_imports_no_web_framework() -> None:
    code = (
        "import sys, fastapi_events.api.observe, fastapi_events.api.actor, fastapi_events.api.dead_letter_actions;"
        "print(sorted({'fastapi', 'starlette', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_dashboard_itself_imports_nothing_until_it_is_used() -> None:
    code = "import sys, fastapi_events.dashboard; print(sorted({'fastapi', 'jinja2', 'starlette'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


BODIES: dict[str, dict[str, Any]] = {
    "replays/preview": {"handler": "mail.send_confirmation"},
    "replays": {"handler": "mail.send_confirmation", "expected": 73},
    f"replays/{UUID(int=1)}/pause": {},
    "dead-letters/redrive": {"filter": "handler:x", "cut_off": "2026-01-31T12:00:00Z", "expected": 3},
    "dead-letters/discard": {"ids": [], "reason": "x"},
    "scheduled/cancel": {"id": str(UUID(int=1))},
    "erasures/preview": {"aggregate": "order", "aggregate_id": "1"},
    "erasures": {"aggregate": "order", "aggregate_id": "1", "reason": "x"},
    "pause": {"lane": "change"},
    "resume": {"lane": "change"},
    "breakers/reset": {"handler": "mail.send_confirmation"},
}


@pytest.mark.parametrize("path", BODIES)
async def test_a_field_that_no_route_knows_is_refused_and_nothing_done(shop: Ground, path: str) -> None:
    answer = await shop.client.post(f"/events/api/{path}", json=BODIES[path] | {"tenant": "acme"})
    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["body", "tenant"]]


def test_every_body_is_looked_at(shop: Ground) -> None:
    app = FastAPI()
    app.include_router(api_router(shop.port, include_in_schema=True))
    schemas = app.openapi()["components"]["schemas"]
    posts = [operations["post"] for operations in app.openapi()["paths"].values() if "post" in operations]
    taken = [post["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2] for post in posts]
    assert len(taken) >= len(BODIES)
    assert [name for name in taken if schemas[name].get("additionalProperties") is not False] == []


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("events?filtr=status:dead", "filter"), ("events?befor=3", "before"),
        ("dead-letters?filters=handler:x", "filter"),
        ("scheduled?curser=x", "cursor"), ("actions?limits=3", "limit"), ("replays?handlr=x", "handler"),
    ],
)  # fmt: skip
async def test_a_parameter_that_is_nearly_one_of_ours_is_refused(shop: Ground, path: str, near: str) -> None:
    answer = await shop.client.get(f"/events/api/{path}")
    assert (answer.status_code, f"Did you mean '{near}'?" in answer.text) == (422, True)
    strange = await shop.client.get(f"/events/api/{path.partition('?')[0]}?_=17&token=x")
    assert strange.status_code == 200, "what is for others is none of ours"
