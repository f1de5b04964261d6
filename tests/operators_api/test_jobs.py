"""Jobs and runs for programs: listed, shown and acted on, by those who may."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import uuid4

import pytest
import pytest_asyncio
from fastapi import FastAPI, Request
from pydantic import BaseModel

from fastapi_events import Actor, Events, EventsSettings, JobContext, Module, Retry, Secret
from tests.dashboard.ground import by_header, client_of

API = "/events/api"


class Restock(BaseModel):
    """What a run is given."""

    sku: str
    supplier: Annotated[str, Secret] = "acme-house-4711"


class Shop:
    """A started instance, its application, and runs: one that has failed, one that has succeeded, one that waits."""

    def __init__(self, events: Events, app: FastAPI, runs: list[str]) -> None:
        self.events, self.app = events, app
        self.bad, self.good, self.hers = runs

    def client(self, permissions: str = "view,view_payload,operate,edit", **headers: str) -> Any:
        return client_of(self.app, headers={"X-Permissions": permissions, **headers})


def by_headers(request: Request) -> Actor:
    """An ``authorize`` that believes headers."""
    tenant = request.headers.get("x-tenant")
    return replace(by_header(request), tenants=None if tenant is None else frozenset({tenant}))


@pytest_asyncio.fixture
async def stock(clean_database: str) -> AsyncIterator[Shop]:
    module, refusing = Module("shop"), [True]

    @module.every(timedelta(hours=1), id="shop.hourly", input=Restock(sku="hourly"))
    @module.job(retry=Retry(1), scope=lambda given: ("sku", given.sku))
    async def restock(job: JobContext[Restock]) -> str:
        job.log.info("looking for %s", job.input.sku, extra={"supplier": job.input.supplier, "left": 7})
        job.log.warning("Authorization: Bearer abcdefghijk")
        if job.input.sku == "bad" and refusing:
            refusing.clear()
            raise ValueError(f"{job.input.supplier} has none")
        return job.input.sku

    settings = EventsSettings(database_url=clean_database, notify="off")
    events = Events(modules=[module], settings=settings, authorize=by_headers)
    app = FastAPI()
    app.include_router(events.router)
    await events.start(drains=False)
    runs = await events.jobs.start_many(restock, [Restock(sku="bad"), Restock(sku="good")])
    await events.drain_once()
    hers = await events.jobs.start(restock, Restock(sku="a"), delay=3600, tenant_id="acme")
    yield Shop(events, app, [str(one.run) for one in (*runs, hers)])
    await events.stop()


async def test_what_a_run_has_said(stock: Shop) -> None:
    async with stock.client() as client:
        page = (await client.get(f"{API}/runs/{stock.bad}/logs")).json()
        info, warning = page["lines"]
        assert (info["level"], info["message"], info["attempt"]) == ("info", "looking for bad", 1)
        assert info["fields"] == {"supplier": "••••••", "left": 7}
        assert "abcdefghijk" not in warning["message"]
        assert (page["older"], page["newest"], page["left_out"], page["ended"]) == (None, warning["number"], 0, True)
        part = (await client.get(f"{API}/runs/{stock.bad}/logs", params={"limit": 1})).json()
        assert [line["number"] for line in part["lines"]] == [warning["number"]]
        part = (await client.get(f"{API}/runs/{stock.bad}/logs", params={"before": part["older"]})).json()
        assert [line["number"] for line in part["lines"]] == [info["number"]]
        part = (await client.get(f"{API}/runs/{stock.bad}/logs", params={"after": info["number"]})).json()
        assert [line["number"] for line in part["lines"]] == [warning["number"]]
        part = (await client.get(f"{API}/runs/{stock.bad}/logs", params={"level": "error"})).json()
        assert part["lines"] == []
        assert (await client.get(f"{API}/runs/{uuid4()}/logs")).status_code == 404
        for wrong in ({"level": "warn"}, {"limit": 0}, {"before": 1, "after": 1}, {"befor": 1}):
            assert (await client.get(f"{API}/runs/{stock.bad}/logs", params=wrong)).status_code == 422, wrong
    async with stock.client("view") as client:
        page = (await client.get(f"{API}/runs/{stock.bad}/logs")).json()
        assert page["lines"][0]["fields"] is None
    async with stock.client("") as client:
        assert (await client.get(f"{API}/runs/{stock.bad}/logs")).status_code == 403
    async with stock.client("view", **{"X-Tenant": "acme"}) as client:
        assert (await client.get(f"{API}/runs/{stock.bad}/logs")).status_code == 404
        assert (await client.get(f"{API}/runs/{stock.hers}/logs")).json()["lines"] == []


async def test_readings(stock: Shop) -> None:
    async with stock.client() as client:
        [job] = (await client.get(f"{API}/jobs")).json()
        assert (job["name"], job["failed"], job["waiting"], job["processes"]) == ("shop.restock", 1, 1, 0)
        [pool] = (await client.get(f"{API}/pools")).json()
        assert (pool["name"], pool["jobs"], pool["workers"]) == ("batch", ["shop.restock"], [])
        page = (await client.get(f"{API}/runs", params={"filter": "job:shop.restock state:failed"})).json()
        assert [run["id"] for run in page["runs"]] == [stock.bad]
        first = (await client.get(f"{API}/runs", params={"limit": 2})).json()
        second = (await client.get(f"{API}/runs", params={"limit": 2, "cursor": first["older"]})).json()
        assert [run["id"] for run in first["runs"] + second["runs"]] == [stock.hers, stock.good, stock.bad]
        run = (await client.get(f"{API}/runs/{stock.bad}")).json()
        assert (run["state"], run["input"]["sku"], run["hidden_secrets"]) == ("failed", "bad", 1)
        assert "acme-house" not in str(run)
        assert (await client.get(f"{API}/runs/{uuid4()}")).status_code == 404
        for query in ("filter=state:gone", "filter=tag:x", "cursor=x", "limit=0", "filters=x", "filter=job:x"):
            assert (await client.get(f"{API}/runs?{query}")).status_code == 422, query
    async with stock.client("view") as viewer:
        run = (await viewer.get(f"{API}/runs/{stock.good}")).json()
        assert (run["input"], run["result"], run["input_visible"]) == (None, None, False)


async def test_actions(stock: Shop) -> None:
    async with stock.client() as client:

        async def act(path: str, body: dict[str, Any]) -> Any:
            return (await client.post(f"{API}/{path}", json=body)).json()

        both = [stock.bad, stock.good]
        assert await act("runs/retry", {"ids": both, "reason": "mended"}) == {"asked": 2, "changed": 1, "conflicts": []}
        assert await act("runs/cancel", {"ids": both}) == {"asked": 2, "changed": 1, "conflicts": []}
        soon = (datetime.now(UTC) + timedelta(seconds=9)).isoformat()
        wanted = {"job": "shop.restock", "finished_before": soon}
        assert await act("runs/retry-matching", wanted) == {"asked": 0, "changed": 0, "conflicts": []}
        assert await act("runs/retry-matching", {**wanted, "state": "canceled"}) == {
            "asked": 1,
            "changed": 1,
            "conflicts": [],
        }
        assert await act("runs/cancel", {"ids": [stock.bad]}) == {"asked": 1, "changed": 1, "conflicts": []}
        changed = await act(f"runs/{stock.bad}/edit", {"input": {"sku": "c"}, "from": "scratch", "reason": "typo"})
        assert changed == {"changed": True}
        assert await act("runs/replay", {"ids": [stock.good], "from": "last_step"}) == {
            "asked": 1,
            "changed": 1,
            "conflicts": [],
        }
        for path, done in (("jobs/pause", True), ("jobs/pause", False), ("jobs/resume", True), ("jobs/resume", False)):
            assert await act(path, {"job": "shop.restock"}) == {"changed": done}
        actions = (await client.get(f"{API}/actions")).json()["actions"]
        assert [action["action"] for action in actions] == [
            "resume_job", "resume_job", "pause_job", "pause_job", "replay_runs", "edit_run", "cancel_runs",
            "retry_runs", "cancel_runs", "retry_runs",
        ]  # fmt: skip
        assert {action["actor"] for action in actions} == {"ada@shop.example"}
        assert "acme-house" not in str(actions)
        run = (await client.get(f"{API}/runs/{stock.bad}")).json()
        assert (run["input"]["sku"], run["edits"][0]["input"]["sku"], run["edits"][0]["actor"]) == (
            "c", "bad", "ada@shop.example",
        )  # fmt: skip
        assert "acme-house" not in str(run)


ACTS = (
    "runs/cancel", "runs/retry", "runs/retry-matching", "runs/replay", "jobs/pause", "jobs/resume", "pools/batch/set",
    "pools/batch/reset",
)  # fmt: skip


async def test_pools_are_set_and_reset(stock: Shop) -> None:
    async with stock.client() as client:
        for path, body, changed in (
            ("set", {"concurrency": 7, "reason": "a long queue"}, True), ("set", {"concurrency": 7}, False),
            ("reset", {}, True), ("reset", {}, False), ("set", {"concurrency": 8}, True),
        ):  # fmt: skip
            answer = await client.post(f"{API}/pools/batch/{path}", json=body)
            assert (answer.status_code, answer.json()) == (200, {"changed": changed})
        [pool] = [pool for pool in (await client.get(f"{API}/pools")).json() if pool["name"] == "batch"]
        assert (pool["set_to"], pool["reserved"]) == (8, False)
        assert (await client.get(f"{API}/pools", params={"reserved": True})).status_code == 200
        actions = (await client.get(f"{API}/actions")).json()["actions"]
        assert [(one["action"], one["details"]["concurrency"]) for one in actions[:3]] == [
            ("set_pool", 8), ("reset_pool", None), ("reset_pool", None),
        ]  # fmt: skip
        for path, body, status in (
            ("pools/batch/set", {"concurrency": 0}, 422), ("pools/batch/set", {}, 422),
            ("pools/btch/set", {"concurrency": 2}, 409),
        ):  # fmt: skip
            assert (await client.post(f"{API}/{path}", json=body)).status_code == status
        assert (await client.get(f"{API}/pools", params={"reservd": True})).status_code == 422
    async with stock.client("view,operate", **{"X-Tenant": "acme"}) as client:
        assert (await client.post(f"{API}/pools/batch/set", json={"concurrency": 2})).status_code == 403


async def test_wrong_requests_are_answered_with_the_reason(stock: Shop) -> None:
    async with stock.client() as client:
        for path, body, status in (
            ("runs/cancel", {"ids": []}, 422), ("runs/cancel", {"ids": ["7"]}, 422), ("runs/cancel", {}, 422),
            ("runs/cancel", {"ids": [str(uuid4())]}, 404), ("runs/retry", {"ids": [stock.bad, str(uuid4())]}, 404),
            ("runs/replay", {"ids": [stock.good], "from": "x"}, 422), ("jobs/pause", {"job": "shop.x"}, 409),
            ("runs/replay", {"ids": [stock.good], "form": "scratch"}, 422),
            ("runs/retry-matching", {"finished_before": "2026-01-31T12:00:00"}, 409),
            ("runs/retry-matching", {"finished_before": "2026-01-31T12:00Z", "job": "shop.x"}, 409),
            (f"runs/{stock.bad}/edit", {"input": {"sku": 7}}, 422), (f"runs/{uuid4()}/edit", {"input": {}}, 404),
            (f"runs/{stock.bad}/edit", {}, 422), ("runs/cancel", {"ids": [stock.hers], "reason": "a\x00"}, 422),
        ):  # fmt: skip
            answer = await client.post(f"{API}/{path}", json=body)
            assert answer.status_code == status, (path, body, answer.text)
            assert answer.json()["detail"]
        assert (await client.get(f"{API}/actions")).json()["actions"] == []


@pytest.mark.parametrize("permissions", ["", "view,view_payload,edit"])
async def test_who_may_not_operate_may_not_act(stock: Shop, permissions: str) -> None:
    async with stock.client(permissions) as client:
        for path in ACTS:
            assert (await client.post(f"{API}/{path}", json={"ids": [stock.hers]})).status_code == 403, path
    async with stock.client("view,view_payload,operate") as client:
        assert (await client.post(f"{API}/runs/{stock.bad}/edit", json={"input": {"sku": "c"}})).status_code == 403
    async with stock.client("operate,edit") as client:
        for path in ("jobs", "runs", "pools", f"runs/{stock.bad}"):
            assert (await client.get(f"{API}/{path}")).status_code == 403, path


async def test_another_site_may_not_act(stock: Shop) -> None:
    async with stock.client(**{"Sec-Fetch-Site": "cross-site"}) as elsewhere:
        for path in (*ACTS, f"runs/{stock.bad}/edit"):
            answer = await elsewhere.post(f"{API}/{path}", json={"ids": [stock.hers]})
            assert (answer.status_code, "another site" in answer.text) == (403, True), path


async def test_people_of_a_tenant_see_and_change_what_is_theirs(stock: Shop) -> None:
    async with stock.client(**{"X-Tenant": "acme"}) as client:
        assert [run["id"] for run in (await client.get(f"{API}/runs")).json()["runs"]] == [stock.hers]
        assert (await client.get(f"{API}/runs/{stock.bad}")).status_code == 404
        assert (await client.get(f"{API}/pools")).status_code == 403
        [job] = (await client.get(f"{API}/jobs")).json()
        assert (job["ready"], job["processes"]) == (None, None)
        assert (await client.post(f"{API}/runs/cancel", json={"ids": [stock.bad]})).status_code == 404
        assert (await client.post(f"{API}/jobs/pause", json={"job": "shop.restock"})).status_code == 403
        done = await client.post(f"{API}/runs/cancel", json={"ids": [stock.hers]})
        assert done.json() == {"asked": 1, "changed": 1, "conflicts": []}


async def test_dead_runs_are_discarded(stock: Shop) -> None:
    async with stock.client() as client:
        refused = await client.post(f"{API}/runs/discard", json={"ids": [stock.bad]})
        assert (refused.status_code, "needs a reason" in refused.text) == (422, True)
        body = {"ids": [stock.bad, stock.good], "reason": "a test order"}
        assert (await client.post(f"{API}/runs/discard", json=body)).json() == {
            "asked": 2,
            "changed": 1,
            "conflicts": [],
        }
        assert (await client.get(f"{API}/runs", params={"filter": "state:dead"})).json()["runs"] == []
        run = (await client.get(f"{API}/runs/{stock.bad}")).json()
        assert (run["state"], run["note"], run["discarded_at"] is not None) == ("failed", "a test order", True)
        again = await client.post(f"{API}/runs/retry", json={"ids": [stock.bad]})
        assert again.json()["changed"] == 1, "what was discarded can still be retried"
        assert (await client.get(f"{API}/runs/{stock.bad}")).json()["discarded_at"] is None


async def test_schedules(stock: Shop) -> None:
    async with stock.client() as client:
        [schedule] = (await client.get(f"{API}/schedules")).json()
        assert (schedule["name"], schedule["status"], schedule["spec"]) == ("shop.hourly", "ticking", "@every 3600s")
        detail = (await client.get(f"{API}/schedules/{schedule['id']}")).json()
        assert (len(detail["upcoming"]), detail["ticks"]) == (5, [])
        assert (await client.get(f"{API}/schedules/{schedule['id'] + 1}")).status_code == 404
        for act, status in (("pause", "paused"), ("resume", "ticking")):
            answers = [
                (await client.post(f"{API}/schedules/{act}", json={"schedule": "shop.hourly", "reason": "x"})).json()
                for _ in range(2)
            ]
            assert answers == [{"changed": True}, {"changed": False}]
            [schedule] = (await client.get(f"{API}/schedules")).json()
            assert schedule["status"] == status
        started = (await client.post(f"{API}/schedules/run", json={"schedule": "shop.hourly"})).json()
        assert (await client.get(f"{API}/runs/{started['run']}")).json()["input"]["sku"] == "hourly"
        stranger = await client.post(f"{API}/schedules/run", json={"schedule": "shop.hourl"})
        assert (stranger.status_code, "Did you mean" in stranger.text) == (409, True)
    async with stock.client(**{"X-Tenant": "acme"}) as client:
        assert (await client.get(f"{API}/schedules")).status_code == 403
