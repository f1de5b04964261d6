"""Operators see triggers as what they are: by the job that they start."""

import json
from typing import Any

import pytest

from fastapi_events import Module, Trigger
from fastapi_events.cli import consumers
from fastapi_events.cli.consumers import show_consumers
from fastapi_events.cli.declared import show_event
from fastapi_events.cli.doctor.work_checks import work_findings
from fastapi_events.cli.handlers import list_handlers
from fastapi_events.cli.history import inspect
from fastapi_events.testing import wait_for
from tests.delivery.stage import Placed, Stage
from tests.jobs.triggered import TRIGGER, made, restocking


async def test_handlers_list_names_the_jobs(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    module = restocking([])

    @module.on(Placed, id="shop.bystander")
    async def bystander(event: Placed) -> None:
        return None

    events = await stage.idle(module)
    await list_handlers(events, limit=10, as_json=True)
    told = {one["name"]: one for one in json.loads(capsys.readouterr().out)["handlers"]}
    assert {name: one["job"] for name, one in told.items()} == {TRIGGER: "shop.restock", "shop.bystander": None}
    assert "triggered.py:" in told[TRIGGER]["where"]
    await list_handlers(events, limit=10, as_json=False)
    out = capsys.readouterr().out
    assert "STARTS" in out
    assert "not registered by any process" not in out


async def test_without_triggers_nothing_is_said_of_jobs(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    events = await stage.idle(restocking([], triggers=[]))
    await list_handlers(events, limit=10, as_json=False)
    assert "STARTS" not in capsys.readouterr().out


def test_consumers_of_an_event_are_told_apart(
    stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "own_modules", lambda named: set())  # who publishes is not asked, of all these tests
    events = stage.make(restocking([]))
    show_consumers(events, "shop.order.placed", as_json=True)
    [told] = json.loads(capsys.readouterr().out)["handlers"]
    assert (told["id"], told["kind"], told["job"], told["by"]) == (TRIGGER, "trigger", "shop.restock", "class")
    for show in (show_consumers, lambda *given, **more: show_event(*given, version=None, **more)):
        show(events, "shop.order.placed", as_json=False)
        assert "trigger of shop.restock" in capsys.readouterr().out


async def test_an_event_tells_of_its_triggers(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    never = Trigger(Placed, map=made, when=lambda event: False)
    events = await stage.idle(restocking([], triggers=[never]))
    published = await events.publish(Placed(order="a"))
    await events.drain_once()
    await inspect(events, published.event_id, show_payload=False, as_json=False)
    out = capsys.readouterr().out
    for told in (f"{TRIGGER}: done", "job shop.restock", "skipped", "its condition did not hold"):
        assert told in out


async def test_a_test_can_wait_for_a_trigger(stage: Stage) -> None:
    seen: list[Any] = []
    events = await stage.running(restocking(seen))
    published = await events.publish(Placed(order="a"))
    await wait_for(events, Placed, order="a", handler=TRIGGER)
    assert await stage.value("SELECT event_id FROM events.run") == published.event_id


async def test_what_waits_for_a_trigger_that_nobody_has_is_a_concern(stage: Stage) -> None:
    gone = await stage.idle(restocking([]))
    await gone.stop()
    events = await stage.idle(Module("shop"))
    await events.publish(Placed(order="a"))
    await events.drain_once()
    overview = await events.observe.overview()
    [concern] = [one for one in overview.concerns if one.what.startswith("No live process has ")]
    assert concern.what == f"No live process has {TRIGGER}, which starts job shop.restock"
    found = {one.name: one for one in work_findings(overview, [], "app")}
    assert f"{TRIGGER} (1 waiting)" in found["no_handler deliveries"].message
