"""A replay from the dashboard: counted, started, paused, resumed and cancelled by hand."""

import re

import pytest

from tests.browser.conftest import Site

HANDLER = "mail.send_confirmation"


@pytest.mark.browser
async def test_a_replay_is_counted_started_paused_and_cancelled(site: Site) -> None:
    page = await site.open("/replays")
    await page.get_by_role("heading", name="No replays").wait_for()
    await page.get_by_role("link", name="New replay…").click()
    await page.get_by_label("Handler").select_option(HANDLER)
    await page.get_by_label("Events per second").fill("5")
    await page.get_by_role("button", name="Count").click()
    await page.get_by_role("heading", name=re.compile(r"^[\d,]+ events$")).wait_for()
    await page.get_by_label("Reason").fill("the template was wrong")
    await page.get_by_role("button", name=re.compile("again$")).click()
    await page.get_by_role("heading", name=HANDLER).wait_for()
    for verb, state in (("Pause", "paused"), ("Resume", "running"), ("Cancel", "cancelled")):
        await page.get_by_role("link", name=f"{verb}…").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("heading", name=f"{verb} the replay").wait_for()
        await dialog.get_by_role("button", name=f"{verb} the replay").click()
        await page.locator(".page-head .status").get_by_text(state).wait_for()
    await page.goto(f"{site.base}/replays")
    await page.locator("table.replays").get_by_text("cancelled").wait_for()
    assert site.complaints == []
