"""In development everybody is let in: only where no stranger's page can pretend to be this one."""

import pytest

from tests.dashboard.ground import Ground, client_of


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "192.168.1.7:80", "app", "shop.localhost", "shop.test"]
)
async def test_addresses_and_local_names_are_served(shop: Ground, host: str) -> None:
    async with client_of(shop.app, headers={"Host": host}) as client:
        assert (await client.get("/events/api/overview")).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"]
)
async def test_a_name_that_a_stranger_may_own_is_refused_with_the_mend(shop: Ground, host: str) -> None:
    async with client_of(shop.app, headers={"Host": host, "Origin": f"http://{host}"}) as client:
        for path in ("/events/api/overview", "/events/dashboard"):
            answer = await client.get(path)
            assert answer.status_code == 403
            assert "authorize=" in answer.text


async def test_a_cut_off_that_no_clock_shows_is_refused(shop: Ground) -> None:
    given = {"filter": "handler:x", "cut_off": "0001-01-01T00:00:00+14:00", "expected": 1, "reason": "x"}
    async with client_of(shop.app) as client:
        answer = await client.post("/events/api/dead-letters/redrive", json=given)
    assert answer.status_code == 422
    assert "no moment in the years" in answer.text
