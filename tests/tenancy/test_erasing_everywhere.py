"""An erasure reaches what waits for its time, and every version of what was published in several."""

import json
from typing import Any
from uuid import UUID

import pytest

from fastapi_events import Event, Events, Module, Retry
from fastapi_events.api.erasure import Erased
from fastapi_events.errors import OperationRefused
from fastapi_events.model.erasure import ERASED_PAYLOAD
from fastapi_events.store import erasure
from tests.delivery.stage import Stage
from tests.scheduling.test_moving import make_due
from tests.tenancy.test_erasure import CANARY, everything

ERASED = json.loads(ERASED_PAYLOAD)


class Moved1(Event, name="shop.person.moved", aggregate_id="person"):
    person: str
    where: str


class Moved2(Event, name="shop.person.moved", version=2, aggregate_id="person"):
    person: str
    street: str
    fails: bool = True


def release(event_class: type[Event], seen: list[Any]) -> Module:
    """A release whose handler takes this class."""
    module = Module("shop")

    async def write(event: Any) -> None:
        seen.append(event)
        if getattr(event, "fails", False):
            raise LookupError(f"no such street: {event.street}")

    module.on(event_class, id="shop.write", retry=Retry(max_attempts=1))(write)
    if event_class is Moved2:
        module.upcast(Moved2, from_version=1)(lambda old: {"person": old["person"], "street": old["where"]})
    return module


async def publish(events: Events, person: str = "7", **options: Any) -> UUID:
    event, before = Moved2(person=person, street=CANARY), Moved1(person=person, where=CANARY)
    published = await events.publish(event, also=before, headers={"x-mail": CANARY}, detached=True, **options)
    return published.event_id


async def test_all_versions_and_their_copies(stage: Stage) -> None:
    events = await stage.idle(release(Moved2, []))
    await publish(events)
    await publish(events, key="other")
    await events.drain_once()
    await publish(events)
    assert len(await stage.deliveries("dead")) == 2
    await stage.rows("DELETE FROM events.event WHERE position = (SELECT max(position) FROM events.delivery)")
    ahead = await events.operations.preview_erase("person", "7")
    done = await events.operations.erase("person", "7", actor="dpo", reason="x")
    assert ahead == done == Erased(found=3, events=2, deliveries=2, attempts=2)
    assert CANARY not in await everything(stage)
    kept = [row["other_versions"] for row in await stage.rows("SELECT other_versions FROM events.event")]
    kept += [json.dumps(json.loads(row["event"])["other_versions"]) for row in await stage.deliveries("dead")]
    assert [json.loads(each) for each in kept] == [{"1": ERASED}] * 4, "that it had a version 1 is no content"
    assert await events.operations.erase("person", "7", actor="dpo", reason="x") == Erased(3, 0, 0, 0)
    for row in await stage.deliveries("dead"):
        found = await events.observe.delivery(row["id"])
        assert found is not None
        assert json.loads(found.other_versions or "") == {"1": ERASED}


@pytest.mark.parametrize("taken", [Moved1, Moved2])
async def test_no_release_is_given_it(stage: Stage, taken: type[Event]) -> None:
    """One that reads another version than the first finds it erased too, and does not wait for a newer one."""
    seen: list[Any] = []
    events = await stage.idle(release(taken, seen))
    await publish(events)
    await events.operations.erase("person", "7", actor="dpo", reason="x")
    await events.drain_once()
    [row] = await stage.deliveries()
    assert (seen, row["state"], row["reason"]) == ([], "discarded", "erased")


async def test_what_has_no_other_versions_gets_none(stage: Stage) -> None:
    events = await stage.idle(release(Moved2, []))
    await events.publish(Moved2(person="7", street=CANARY))
    await events.drain_once()
    await events.operations.erase("person", "7", actor="dpo", reason="x")
    [row] = await stage.rows("SELECT e.other_versions, d.event FROM events.event e, events.delivery d")
    assert (row["other_versions"], json.loads(row["event"])["other_versions"]) == (None, None)


async def test_what_waits_for_its_time(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.idle(release(Moved2, seen))
    known = await publish(events, delay=60, event_id=UUID(int=1))
    await publish(events, person="8", delay=60)
    columns = (
        "id, due_at, number, scheduled_at, lane, partition, version, name, aggregate, aggregate_id, key, tenant_id"
    )
    before = await stage.rows(f"SELECT {columns} FROM events.scheduled_event ORDER BY number")
    ahead = await events.operations.preview_erase("person", "7")
    assert (await everything(stage)).count(ERASED_PAYLOAD) == 0, "looking changes nothing"
    done = await events.operations.erase("person", "7", actor="dpo", reason="request 12")
    assert ahead == done == Erased(found=1, events=1, deliveries=0, attempts=0)
    assert await stage.rows(f"SELECT {columns} FROM events.scheduled_event ORDER BY number") == before
    [erased, left] = await stage.rows("SELECT * FROM events.scheduled_event ORDER BY number")
    assert (json.loads(erased["payload"]), erased["headers"]) == (ERASED, None)
    assert json.loads(erased["other_versions"]) == {"1": ERASED}
    assert CANARY in left["payload"]
    [action] = await stage.rows("SELECT action, tenants FROM events.operator_action")
    assert (action["action"], action["tenants"]) == ("erase", [""])
    await make_due(stage)
    await events.drain_once()
    assert [event.person for event in seen] == ["8"]
    rows = {row["event_id"]: (row["state"], row["reason"]) for row in await stage.deliveries()}
    assert rows.pop(known) == ("discarded", "erased")


async def test_in_the_schedule_too_it_has_to_be_said_whose(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "PAGE", 2)
    events = await stage.idle(release(Moved2, []))
    for number in range(5):
        await publish(events, tenant_id="acme", delay=60 + number)
    await publish(events, tenant_id="nordwind")
    with pytest.raises(OperationRefused, match="2 tenants"):
        await events.operations.erase("person", "7", actor="dpo", reason="x")
    foreign = events.operations.within("nordwind")
    assert await foreign.preview_erase("person", "7") == Erased(1, 1, 0, 0)
    assert await foreign.erase("person", "7", tenant_id="acme", actor="dpo", reason="x") == Erased(0, 0, 0, 0)
    done = await events.operations.erase("person", "7", tenant_id="acme", actor="dpo", reason="x")
    assert done == Erased(5, 5, 0, 0), "page by page"
    assert CANARY not in str(await stage.rows("SELECT * FROM events.scheduled_event"))
    assert CANARY in str(await stage.rows("SELECT * FROM events.event"))


async def test_one_that_is_appended_meanwhile_is_found_in_the_log(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes from the schedule to the log: so does the erasure, in this order."""
    events = await stage.idle(release(Moved2, []))
    await publish(events, delay=60)
    through = erasure.ErasureStore._page
    passed: list[str] = []

    async def page(self: Any, statement: str, *rest: Any) -> Any:
        if not passed:  # as if it had become due a moment before the schedule was looked through
            await make_due(stage)
            await stage.rows(events.runtime.statements["append_due_events"], 10, None)
        passed.append(statement)
        return await through(self, statement, *rest)

    monkeypatch.setattr(erasure.ErasureStore, "_page", page)
    assert await events.operations.erase("person", "7", tenant_id=None, actor="dpo", reason="x") == Erased(1, 1, 0, 0)
    assert passed == ["erase_scheduled_events", "erase_events", "erase_copies"]
    assert CANARY not in await everything(stage)
