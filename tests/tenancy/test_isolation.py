"""What is another tenant's is not there: every route of the router, every filter, every action, every figure."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from fastapi_events import Actor
from fastapi_events.errors import DeclarationError, NotFound, OperationRefused
from tests.delivery.stage import Stage
from tests.tenancy.two_tenants import FLEET, FOREIGN, OWN, Ground, Tenant, filled, routes, two_tenants

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
IDS = {
    "/events/api/dead-letters/redrive", "/events/api/dead-letters/discard", "/events/dashboard/dead-letters/redrive",
    "/events/dashboard/dead-letters/discard", "/events/dashboard/dead-letters/confirm",
}  # fmt: skip
"""Routes that take ids of dead letters; one that is new and takes a body has to be added, or it is refused below."""
SCHEDULED = {"/events/api/scheduled/cancel", "/events/dashboard/scheduled/cancel"}
"""Routes that take the id of a scheduled event."""
REPLAYS = {"/events/api/replays": 409, "/events/api/replays/preview": 200, "/events/dashboard/replays": 409}
"""Routes that count a replay, and what they answer when there is nothing of one's own in it."""
RUNS = {
    f"/events/{part}/runs/{act}" for part in ("api", "dashboard") for act in ("cancel", "retry", "replay", "discard")
}
RUNS |= {"/events/dashboard/runs/confirm"}
"""Routes that take ids of runs."""
EDIT = {"input": {"text": "x"}, "reason": "x"}


@pytest_asyncio.fixture
async def ground(stage: Stage) -> AsyncIterator[Ground]:
    yield await two_tenants(stage)


async def request(
    client: httpx.AsyncClient, method: str, path: str, ids: list[Any], tenant: Tenant | None = None
) -> httpx.Response:
    """A request that would do what the route is there for."""
    texts = [str(one) for one in ids]
    if "/api/erasures" in path and tenant:
        aggregate = {"aggregate": "invoice", "aggregate_id": f"{tenant.canary}-1"}
        aggregate |= {} if path.endswith("/preview") else {"reason": "x"}
        answer = await client.post(path, json=aggregate | {"tenant_id": tenant.name})
        assert (await client.post(path, json=aggregate)).status_code == answer.status_code
        return answer
    if method == "POST" and path in REPLAYS and tenant:
        plan = {"handler": "shop.charge", "tenant_id": tenant.name}
        if "/api/" in path:
            return await client.post(path, json=plan)
        return await client.post(path, content=urlencode(plan), headers=FORM)
    if path in RUNS or path.endswith("/edit"):
        run = str(tenant.runs[0] if tenant else ids[0])
        if method == "GET":
            return await client.get(path, params={"action": "retry", "id": run})
        if "/dashboard/" in path:
            form = {"id": run, "reason": "x", "input": json.dumps(EDIT["input"])}
            return await client.post(path, content=urlencode(form), headers=FORM)
        return await client.post(path, json=EDIT if path.endswith("/edit") else {"ids": [run], "reason": "x"})
    if path.endswith("/retry-matching"):  # one's own are not to be changed either, so there are none
        return await client.post(path, json={"finished_before": "2001-01-01T00:00:00Z", "reason": "x"})
    if "/replays/" in path and path.endswith("/confirm"):
        return await client.get(path, params={"action": "cancel"})
    if path.endswith("/change"):
        return await client.post(path, content=urlencode({"action": "cancel"}), headers=FORM)
    if "/scheduled/c" in path:
        waiting = {"id": str(tenant.scheduled[0] if tenant else ids[0]), "reason": "x"}
        if path.endswith("/confirm"):
            return await client.get(path, params=waiting)
        if "/api/" in path:
            return await client.post(path, json=waiting)
        return await client.post(path, content=urlencode(waiting), headers=FORM)
    if path.endswith("/confirm"):
        return await client.get(path, params={"action": "redrive", "id": texts})
    if method == "GET":
        return await client.get(path)
    if "/api/" in path:
        return await client.post(path, json={"reason": "x"} | ({"ids": texts} if path in IDS else {}))
    return await client.post(path, content=urlencode([*(("id", one) for one in texts), ("reason", "x")]), headers=FORM)


async def test_every_route_with_foreign_ids(ground: Ground) -> None:
    before, actions, waiting = await ground.states(), await ground.actions(), await ground.waiting_for_their_time()
    found = list(routes(ground.app))
    assert len(found) >= 20
    async with ground.client() as client:
        for method, path in found:
            answer = await request(
                client, method, filled(path, ground.foreign), ground.foreign.dead[:1], ground.foreign
            )
            assert FOREIGN not in answer.text, (method, path)
            if path in FLEET:
                assert answer.status_code == 403, (method, path)
            elif method == "POST" and path in REPLAYS:
                assert answer.status_code == REPLAYS[path], (method, path, answer.text[:300])
                assert REPLAYS[path] == 409 or answer.json()["count"] == 0, (method, path, answer.text[:300])
            elif path.endswith("/retry-matching"):
                assert (answer.status_code, answer.json()["changed"]) == (200, 0)
            elif "{" in path or path in IDS | SCHEDULED | RUNS or "/erasures" in path:
                assert answer.status_code == 404, (method, path, answer.text[:300])
            else:
                assert (method, answer.status_code) == ("GET", 200), (method, path, answer.text[:300])
                assert (
                    OWN in answer.text
                    or path
                    in (
                        "/events/api/handlers",
                        "/events/api/jobs",
                        "/events/dashboard/consumers",
                        "/events/dashboard/jobs",
                        "/events/dashboard/scheduled/confirm",
                        "/events/dashboard/replays/new",
                    )
                    or ("overview" in path or path.rstrip("/").endswith("dashboard") or path.endswith("groups"))
                ), f"{path} shows the actor's own"
    assert (await ground.states(), await ground.actions()) == (before, actions), "nothing was done"
    assert await ground.waiting_for_their_time() == waiting


async def test_one_that_is_foreign_refuses_all(ground: Ground) -> None:
    before, actions = await ground.states(), await ground.actions()
    mixed = [ground.own.dead[0], ground.foreign.dead[0], ground.own.dead[1]]
    async with ground.client() as client:
        for method, path in routes(ground.app):
            if path not in IDS:
                continue
            answer = await request(client, method, path, mixed)
            nobody = await request(client, method, path, [ground.own.dead[0], ground.own.events[0]])
            assert (answer.status_code, nobody.status_code) == (404, 404), (method, path)
            shown = answer.text.replace(str(ground.foreign.dead[0]), "…")
            assert shown == nobody.text.replace(str(ground.own.events[0]), "…"), "foreign and missing look alike"
            assert (await ground.states(), await ground.actions()) == (before, actions), path


async def test_the_schedule_shows_and_gives_up_ones_own(ground: Ground) -> None:
    nobody, (first, second) = UUID(int=7), ground.own.scheduled
    async with ground.client() as client, ground.client("*") as staff, ground.client("") as none:
        page = (await client.get("/events/api/scheduled", params={"limit": 1})).json()
        later = (await client.get("/events/api/scheduled", params={"limit": 1, "cursor": page["later"]})).json()
        assert [event["id"] for event in page["events"] + later["events"]] == [str(first), str(second)]
        assert (page["scheduled"], later["later"]) == (2, None)
        assert (await staff.get("/events/api/scheduled")).json()["scheduled"] == 4
        assert (await none.get("/events/api/scheduled")).json()["events"] == []
        for asker, number in ((client, 2), (staff, 4), (none, 0)):
            assert (await asker.get("/events/api/overview")).json()["scheduled"] == number
        for path in SCHEDULED:
            foreign = await request(client, "POST", path, ground.foreign.scheduled[:1])
            missing = await request(client, "POST", path, [nobody])
            shown = foreign.text.replace(str(ground.foreign.scheduled[0]), str(nobody))
            assert (foreign.status_code, shown) == (404, missing.text), "foreign and missing look alike"
        answer = await client.post("/events/api/scheduled/cancel", json={"id": str(first), "reason": "mine"})
        assert answer.json() == {"cancelled": True}
        await staff.post("/events/api/scheduled/cancel", json={"id": str(nobody), "reason": "nobody's"})
        await staff.post("/events/api/scheduled/cancel", json={"id": str(second), "reason": "yours"})
        seen = (await client.get("/events/api/actions")).json()["actions"]
    assert await ground.waiting_for_their_time() == set(ground.foreign.scheduled)
    reasons = [action["details"]["reason"] for action in seen if action["action"] == "cancel_scheduled"]
    assert reasons == ["yours", "mine"], "what staff looked for in vain is nobody's affair"


async def test_what_holds_for_everybody_is_for_staff(ground: Ground) -> None:
    operations = ground.events.operations
    for narrowed in (operations.within(OWN), operations.within(OWN, FOREIGN), operations.within()):
        for act in (
            narrowed.pause(actor="x"), narrowed.pause(handler="shop.charge", actor="x"), narrowed.resume(actor="x"),
            narrowed.reset_breaker("shop.charge", actor="x"),
        ):  # fmt: skip
            with pytest.raises(OperationRefused, match="everybody's"):
                await act
    assert await operations.pause(handler="shop.charge", actor="staff", reason="bank")
    assert await operations.resume(handler="shop.charge", actor="staff", reason="bank")
    assert [action.action for action in await operations.actions(limit=2)] == ["resume_handler", "pause_handler"]
    seen = {action.action for action in await operations.within(OWN, FOREIGN).actions()}
    assert seen == {"discard", "cancel_runs"}, "the record shows it to staff alone"


async def test_own_ones_are_changed(ground: Ground) -> None:
    async with ground.client() as client:
        answer = await client.post("/events/api/dead-letters/redrive", json={"ids": [str(ground.own.dead[0])]})
        assert answer.json() == {"asked": 1, "changed": 1}
    states = await ground.states()
    assert states[ground.own.dead[0]] == "waiting"
    assert states[ground.foreign.dead[0]] == "dead"


async def test_all_that_match_are_all_of_ones_own(ground: Ground) -> None:
    where = "handler:shop.charge"
    async with ground.client() as client:
        page = (await client.get("/events/api/dead-letters", params={"filter": where})).json()
        assert (page["matching"], len(page["dead_letters"])) == (2, 2)
        body = {"filter": where, "cut_off": page["cut_off"], "expected": 10, "reason": "x"}
        answer = await client.post("/events/api/dead-letters/discard", json=body)
        assert answer.json() == {"asked": 2, "changed": 2}
    states = await ground.states()
    assert [states[one] for one in ground.foreign.dead[:2]] == ["dead", "dead"]


def foreign_filters(foreign: Tenant) -> list[str]:
    return [
        f"tenant:{FOREIGN}", f"id:{foreign.events[0]}", f"correlation:{foreign.events[0]}",
        f"causation:{foreign.events[0]}", f"aggregate:invoice/{foreign.canary}-1", f"actor:{foreign.canary}-actor",
        f"key:{FOREIGN}/invoice/{foreign.canary}-1", f"payload.text:{foreign.canary}",
        f"tenant:{FOREIGN} status:dead", f"payload.text:{foreign.canary} handler:shop.charge",
    ]  # fmt: skip


async def test_runs_that_match_are_ones_own(ground: Ground) -> None:
    bound = {"job": "shop.bill", "state": "canceled", "finished_before": "2999-01-01T00:00:00Z", "reason": "x"}
    async with ground.client() as client:
        answer = await client.post("/events/api/runs/retry-matching", json=bound)
        assert answer.json() == {"asked": 1, "changed": 1, "conflicts": []}, answer.text
    states = await ground.states()
    assert (states[ground.own.runs[0]], states[ground.foreign.runs[0]]) == ("r", "canceled")


async def test_no_filter_finds_what_is_foreign(ground: Ground) -> None:
    async with ground.client() as client, ground.client("*") as staff:
        for where in foreign_filters(ground.foreign):
            for place in ({}, {"after": 0}, {"before": 10**9}):
                found = await client.get("/events/api/events", params={"filter": where} | place)
                assert found.json()["events"] == [], where
            found = await staff.get("/events/api/events", params={"filter": where})
            assert bool(found.json()["events"]) is not where.startswith("causation"), f"staff would find it: {where}"


async def test_pages_of_history_hold_ones_own_alone(ground: Ground) -> None:
    seen: list[str] = []
    async with ground.client() as client:
        page = (await client.get("/events/api/events", params={"limit": 1})).json()
        while page["events"]:
            seen += [event["id"] for event in page["events"]]
            if page["older"] is None:
                break
            page = (await client.get("/events/api/events", params={"limit": 1, "before": page["older"]})).json()
        newer = (await client.get("/events/api/events", params={"after": 0})).json()
    assert seen == [str(one) for one in reversed(ground.own.events)]
    assert len(newer["events"]) == 4
    detail = ground.events.observe.within(OWN)
    event = await detail.event(ground.own.events[0])
    assert event is not None
    assert len(event.conversation) == 4


async def test_a_conversation_across_tenants_shows_ones_own_part(ground: Ground) -> None:
    from tests.tenancy.two_tenants import Billed

    await ground.events.publish(
        Billed(invoice="9", text="x", fails=False), tenant_id=FOREIGN, correlation_id=ground.own.events[0]
    )
    event = await ground.events.observe.within(OWN).event(ground.own.events[0])
    assert event is not None
    assert {other.tenant_id for other in event.conversation} == {OWN}


async def test_figures_count_ones_own(ground: Ground) -> None:
    await ground.events.observe.overview()
    async with ground.client() as client, ground.client("*") as staff:
        own = (await client.get("/events/api/overview")).json()
        everything = (await staff.get("/events/api/overview")).json()
        assert (own["dead"], own["waiting"], sum(own["published_per_minute"])) == (2, 1, 4)
        assert (everything["dead"], everything["waiting"], sum(everything["published_per_minute"])) == (4, 2, 8)
        assert (own["lanes"], own["workers"], own["fleet"], own["oldest_pending"]) == ([], [], False, None)
        assert (bool(everything["lanes"]), everything["fleet"]) == (True, True)
        for handlers, dead in (
            (await client.get("/events/api/handlers"), 2),
            (await staff.get("/events/api/handlers"), 4),
        ):
            assert [handler["dead"] for handler in handlers.json()] == [dead]
        page = await client.get("/events/dashboard")
        for absent in ("Lanes", "Processes", "Oldest pending", "dashboard/workers"):
            assert absent not in page.text
        groups = (await client.get("/events/api/dead-letters/groups")).json()
        assert [group["dead"] for group in groups] == [2]


async def test_the_record_of_actions_shows_what_concerned_nobody_else(ground: Ground) -> None:
    operations = ground.events.operations
    await operations.redrive([ground.own.dead[0], ground.foreign.dead[0]], actor="staff", reason="both")
    await operations.redrive([ground.own.dead[1]], actor="staff", reason="one")
    async with ground.client() as client, ground.client("acme,nordwind") as both, ground.client("*") as staff:
        reasons = [
            [action["details"]["reason"] for action in (await asker.get("/events/api/actions")).json()["actions"]]
            for asker in (client, both, staff)
        ]
    own, foreign = ([f"{tenant.canary}-reason"] * 2 for tenant in (ground.own, ground.foreign))
    assert reasons[0] == ["one", *own]
    assert reasons[1] == reasons[2] == ["one", "both", *foreign, *own]
    assert len(await operations.within(OWN).actions()) == 3


async def test_of_no_tenant_is_for_nobody_but_staff(ground: Ground) -> None:
    from tests.tenancy.two_tenants import Billed

    published = await ground.events.publish(Billed(invoice="0", text="x"), tenant_id=None)
    await ground.events.drain_once()
    for tenants, status in (("acme", 404), ("acme,nordwind", 404), ("", 404), ("*", 200)):
        async with ground.client(tenants) as client:
            assert (await client.get(f"/events/api/events/{published.event_id}")).status_code == status


async def test_an_actor_of_no_tenants_sees_nothing(ground: Ground) -> None:
    async with ground.client("") as client:
        assert (await client.get("/events/api/events")).json()["events"] == []
        assert (await client.get("/events/api/dead-letters")).json()["matching"] == 0
        assert (await client.get("/events/api/overview")).json()["dead"] == 0
        assert (await client.get("/events/api/actions")).json()["actions"] == []


async def test_a_blank_tenant_is_nobody(ground: Ground) -> None:
    """In the record of actions, and for an erasure, the empty text stands for what belongs to no tenant."""
    from tests.tenancy.two_tenants import Billed

    nobodys = await ground.events.publish(Billed(invoice="0", text="x"), tenant_id=None)
    later = await ground.events.publish(Billed(invoice="0", text="x"), tenant_id=None, delay=60)
    await ground.events.drain_once()
    operations, observe = ground.events.operations, ground.events.observe.within("")
    await operations.erase("invoice", "none such", actor="staff", reason="x")
    [dead] = [
        letter.id for letter in (await ground.events.observe.dead_letters("")).dead_letters if not letter.tenant_id
    ]
    await operations.redrive([dead], actor="staff", reason="nobody's")
    blank = operations.within("")
    assert (await blank.actions(), (await observe.actions()).actions) == ([], ())
    assert (await blank.erase("invoice", "0", actor="x", reason="x")).found == 0
    assert (await observe.scheduled()).events == ()
    for attempt in (blank.cancel_scheduled(later.event_id, actor="x"), blank.redrive([dead], actor="x")):
        with pytest.raises(NotFound):
            await attempt
    assert await observe.event(nobodys.event_id) is None


async def test_an_actor_that_says_nothing_of_tenants_is_refused(ground: Ground) -> None:
    async with ground.client("?") as client:
        for method, path in routes(ground.app):
            answer = await request(client, method, filled(path, ground.own), ground.own.dead)
            assert answer.status_code == 403, (method, path)
            assert "tenants=None" in answer.text, "the mend is told"


async def test_tenants_hold_without_the_setting_too(ground: Ground) -> None:
    await ground.events.stop()
    events = await ground.stage.idle()
    assert len((await events.observe.events()).events) == 8
    assert len((await events.observe.within(OWN).events()).events) == 4


async def test_programs_are_narrowed_and_never_widened(ground: Ground) -> None:
    observe, operations = ground.events.observe.within(OWN), ground.events.operations.within(OWN)
    assert await observe.event(ground.foreign.events[0]) is None
    assert await observe.delivery(ground.foreign.dead[0]) is None
    assert await observe.workers() == []
    for narrowed in (observe.within(FOREIGN), ground.events.observe.within()):
        assert (await narrowed.events()).events == ()
    for act in (operations, operations.within(OWN, FOREIGN)):
        with pytest.raises(NotFound):
            await act.redrive([ground.foreign.dead[0]], actor="x")
        with pytest.raises(NotFound):
            await act.discard([ground.own.dead[0], ground.foreign.dead[0]], actor="x", reason="x")
    assert (await ground.states())[ground.own.dead[0]] == "dead"


@pytest.mark.parametrize("tenants", ["acme", {"acme"}, ["acme"], frozenset({7})])
def test_tenants_are_a_frozenset_of_texts(tenants: Any) -> None:
    with pytest.raises(DeclarationError, match="frozenset"):
        Actor("ada", tenants=tenants)
