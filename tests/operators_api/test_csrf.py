"""Actions come from our own pages: what a browser on another site can send changes nothing."""

import itertools
from urllib.parse import urlencode

import httpx

from fastapi_events.api.routes.csrf import cross_site_reason
from tests.dashboard.ground import ORIGIN, Ground

REFUSED = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.testserver"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://testserver.evil.example"},
    {"Origin": "http://testserver:81"},
    {"Origin": "http://evil.example", "HX-Request": "true"},
    {"Cookie": "session=1"},
    {"Authorization": "Basic YTpi"},
    {"Cookie": "session=1", "HX-Request": "true", "Referer": f"{ORIGIN}/events/dashboard"},
]
ALLOWED = [
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Cookie": "session=1"},
    {"Sec-Fetch-Site": "same-origin", "Authorization": "Basic YTpi"},
    {"Origin": ORIGIN, "Cookie": "session=1"},
    {"Origin": "https://testserver", "Cookie": "session=1"},
    {"Authorization": "Bearer x"},
    {},
]


def client(ground: Ground) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(ground.app), base_url=ORIGIN)


async def test_a_foreign_request_changes_nothing(shop: Ground) -> None:
    letter = str(shop.seeded.dead[0])
    async with client(shop) as http:
        for headers, verb in itertools.product(REFUSED, ("redrive", "discard")):
            data = await http.post(
                f"/events/api/dead-letters/{verb}", json={"ids": [letter], "reason": "x"}, headers=headers
            )
            form = await http.post(
                f"/events/dashboard/dead-letters/{verb}", data={"id": letter, "reason": "x"}, headers=headers
            )
            assert (data.status_code, form.status_code) == (403, 403), headers
            assert "Refused" in data.json()["detail"]
            if headers.keys() <= {"Authorization"}:
                assert "sends 'Sec-Fetch-Site: same-origin' along" in data.json()["detail"], "what helps"
    states = await shop.connection.fetch("SELECT DISTINCT state FROM events.delivery")
    assert {row["state"] for row in states} == {"dead", "waiting"}


async def test_our_own_pages_and_programs_are_let_in(shop: Ground) -> None:
    async with client(shop) as http:
        for headers in ALLOWED:
            body = {"ids": [str(shop.seeded.dead[0])]}
            data = await http.post("/events/api/dead-letters/redrive", json=body, headers=headers)
            content = urlencode({"id": str(shop.seeded.dead[1])})
            form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
            page = await http.post("/events/dashboard/dead-letters/redrive", content=content, headers=form)
            assert (data.status_code, page.status_code) == (200, 303), headers


def test_a_host_that_cannot_be_read_equals_nothing() -> None:
    assert cross_site_reason({"origin": "null", "host": ":::"}, "http")
    assert cross_site_reason({"origin": "http://", "host": ""}, "http")
    assert cross_site_reason({"origin": "https://shop.example", "host": "shop.example"}, "http") is None, "TLS in front"


async def test_nothing_is_changed_by_get(shop: Ground) -> None:
    for verb in ("redrive", "discard"):
        for path in (f"/events/api/dead-letters/{verb}", f"/events/dashboard/dead-letters/{verb}"):
            answer = await shop.client.get(path, params={"id": str(shop.seeded.dead[0]), "reason": "x"})
            assert answer.status_code in (404, 405, 422)
