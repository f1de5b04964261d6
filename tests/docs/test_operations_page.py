"""The page on operations: its script redrives, and its tables are those of the code."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fastapi_events.api.job_operations import JobOperations
from fastapi_events.api.observe import Observe
from fastapi_events.api.observe.job_readings import JobReadings
from fastapi_events.api.operations import Operations
from fastapi_events.api.replays import ReplayOperations
from fastapi_events.api.run_operations import RunOperations
from tests.docs.pages import Project, text_of
from tests.docs.serving import execute

Made = Callable[[str], Project]
PAGE = "docs/reference/operations.md"


async def test_the_script_redrives(project: Made, clean_database: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = project(PAGE)
    shop, script = page.load("shop"), page.load("redrive")
    await handled(shop)
    assert await states(clean_database) == ["dead", "dead"]
    fill_the_shelf()
    await script.main()
    assert "2 of 2 redriven" in capsys.readouterr().out
    assert await states(clean_database) == ["waiting", "waiting"]
    [action] = await execute(clean_database, "SELECT actor, details ->> 'reason' FROM events.operator_action")
    assert tuple(action) == ("ana@example.com", "the shelf is full")
    await handled(shop, publishes=False)
    assert await states(clean_database) == ["done", "done"]


def fill_the_shelf() -> None:
    Path("shelf").touch()


async def handled(shop: object, *, publishes: bool = True) -> None:
    events, event = shop.events, shop.OrderPlaced  # type: ignore[attr-defined]
    await events.start(drains=False)
    try:
        for order_id in (1, 2) if publishes else ():
            await events.publish(event(order_id=order_id))
        await events.drain_once()
    finally:
        await events.stop()


async def states(url: str) -> list[str]:
    return [row["state"] for row in await execute(url, "SELECT state FROM events.delivery ORDER BY position")]


@pytest.mark.parametrize("kind", [Operations, Observe, ReplayOperations, RunOperations, JobOperations, JobReadings])
def test_every_method_is_shown_with_its_parameters(kind: type) -> None:
    public = {name: one for name, one in vars(kind).items() if not name.startswith("_") and name != "close"}
    methods = {name: one for name, one in public.items() if not isinstance(one, property)}
    assert len(methods) >= 2
    shown = re.findall(r"^\| `(\w+\(.*?\))` \|", text_of(PAGE), re.MULTILINE)
    assert not [call for name, method in methods.items() if (call := f"{name}({signature(method)})") not in shown]


def signature(method: Callable[..., object]) -> str:
    """As the page writes it: names and defaults, without types."""
    given = [one.replace(annotation=inspect.Parameter.empty) for one in inspect.signature(method).parameters.values()]
    text = str(inspect.Signature([one for one in given if one.name != "self"]))
    return text[1:-1].replace("''", '""')
