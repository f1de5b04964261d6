"""What people do about jobs, in a real browser and under the strict policy that the pages are sent with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Site

pytestmark = pytest.mark.browser


async def test_no_page_of_jobs_breaks_the_policy_or_is_too_wide(works_site: Site) -> None:
    runs = works_site.ground.runs
    [schedule] = await works_site.ground.events.observe.schedules()
    paths = [
        "",
        "/runs",
        "/jobs",
        "/schedules",
        f"/schedules/{schedule.id}",
        "/dead-letters",
        f"/runs/{runs['bad']}/edit",
    ]
    paths += [f"/runs/{runs[one]}" for one in ("good", "bad", "tree")] + [f"/runs/{runs['good']}/logs"]
    for scheme, width in (("light", 1280), ("dark", 390)):
        page = await works_site.open(color_scheme=scheme, viewport={"width": width, "height": 800})
        for path in paths:
            await page.goto(f"{works_site.base}{path}")
            await expect(page.locator("h1")).to_be_visible()
            assert await page.evaluate("typeof htmx") == "object", "scripts are in force"
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert works_site.complaints == []


async def test_retrying_a_dead_run(works_site: Site) -> None:
    works = works_site.ground
    works.suppliers.add("Z-9")
    page = await works_site.open("/runs?filter=state:dead")
    await expect(page.locator("#rail-dead")).to_contain_text("2")
    await page.locator("tbody tr", has_text="Z-9").get_by_role("link").click()
    await expect(page.locator(".error-box")).to_contain_text("no supplier has Z-9")
    await page.locator(".timeline summary", has_text="quote").click()
    await expect(page.locator(".timeline details[open] pre")).to_contain_text("Nordwind")
    await page.get_by_role("link", name="Retry this run…").click()
    dialog = page.locator("#dialog")
    await expect(dialog.locator("h2")).to_have_text("Retry 1 run of inventory.restock?")
    await expect(dialog.locator("#reason")).to_be_focused()
    await dialog.get_by_role("button", name="Retry 1 run").click()
    await expect(page.locator(".notice.good")).to_have_text("It begins anew.")
    await expect(dialog).to_be_hidden()
    await expect(page.locator("#rail-dead")).to_contain_text("1")
    await works.events.drain_once()
    await page.reload()
    await expect(page.locator("h1 + .status")).to_have_text("completed")
    assert works_site.complaints == []


async def test_discarding_selected_runs(works_site: Site) -> None:
    page = await works_site.open("/runs?filter=state:dead")
    await page.locator("[data-select-all]").check()
    await expect(page.locator("[data-selected]")).to_have_text("2 selected")
    await page.get_by_role("button", name="Discard selected…").click()
    dialog = page.locator("#dialog")
    await dialog.locator("#reason").fill("test orders")
    await dialog.get_by_role("button", name="Discard 2 runs").click()
    await expect(page.locator(".notice.good")).to_have_text("2 runs were discarded.")
    await expect(page.locator(".empty h2")).to_have_text("No run matches")
    await expect(page.locator("#rail-dead")).to_be_empty()
    assert works_site.complaints == []


async def test_another_input_is_refused_in_place_and_then_taken(works_site: Site) -> None:
    page = await works_site.open(f"/runs/{works_site.ground.runs['bad']}")
    await page.get_by_role("link", name="Edit input…").click()
    field = page.locator("#input")
    await field.fill('{"sku": 7}')
    await page.get_by_role("button", name="Retry with this input").click()
    await expect(page.locator(".notice.error")).to_contain_text("sku")
    await expect(field).to_have_value('{"sku": 7}')
    await field.fill('{"sku": "B-2", "supplier_key": "••••••"}')
    await page.locator("#from").select_option("scratch")
    await page.get_by_role("button", name="Retry with this input").click()
    await expect(page.locator(".notice.good")).to_contain_text("with the new input")
    await works_site.ground.events.drain_once()
    assert await works_site.ground.state("bad") == "completed"


async def test_running_a_schedule_now(works_site: Site) -> None:
    page = await works_site.open("/schedules")
    await page.get_by_role("link", name="Run reports.nightly now…").click()
    await page.locator("#dialog").get_by_role("button", name="Run reports.nightly now").click()
    await expect(page.locator("h1")).to_have_text("reports.nightly")
    await expect(page.locator("h1 + .status")).to_have_text("pending")
    await page.keyboard.press("g")
    await page.keyboard.press("h")
    await expect(page.locator("h1")).to_have_text("Schedules")
    assert works_site.complaints == []
