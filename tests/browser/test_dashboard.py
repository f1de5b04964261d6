"""What people do on the dashboard, in a real browser and under the strict policy that the pages are sent with."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Site

pytestmark = pytest.mark.browser
ROOMS = ["", "/events", "/dead-letters", "/consumers", "/scheduled", "/replays", "/workers", "/audit",
         "/dead-letters?filter=handler:x"]  # fmt: skip


TWO_REFRESHES_HELD_BACK = """() => new Promise((done) => {
  let held = 0;
  document.addEventListener("htmx:before:request", (event) => { if (event.defaultPrevented && ++held === 2) done(); });
})"""
"""Resolves when the refresh has been prevented twice: nobody pulls the list from under a selection."""


def paths(site: Site) -> list[str]:
    """Every kind of page."""
    seeded = site.ground.seeded
    letter = seeded.dead[0]
    details = [f"/events/{seeded.events[0]['id']}", f"/dead-letters/{letter}"]
    return [*ROOMS, *details, f"/dead-letters/confirm?action=discard&id={letter}"]


async def states(site: Site) -> dict[str, int]:
    rows = await site.ground.connection.fetch("SELECT state, count(*) AS n FROM events.delivery GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def test_no_page_breaks_the_policy_or_complains(site: Site) -> None:
    for scheme in ("light", "dark"):
        page = await site.open(color_scheme=scheme)
        for path in paths(site):
            await page.goto(f"{site.base}{path}")
            await expect(page.locator("main")).to_be_visible()
            assert await page.evaluate("typeof htmx") == "object", "scripts are in force"
    assert site.complaints == []


async def test_an_empty_house_too(empty_site: Site) -> None:
    page = await empty_site.open()
    for path in ROOMS:
        await page.goto(f"{empty_site.base}{path}")
        await expect(page.locator("h1")).to_be_visible()
    assert empty_site.complaints == []


async def test_redriving_selected_dead_letters(site: Site) -> None:
    page = await site.open("/dead-letters")
    await expect(page.locator("#rail-dead")).to_contain_text("7")
    await page.locator("td.pick input").nth(0).check()
    await page.locator("td.pick input").nth(1).check()
    await expect(page.locator("[data-selected]")).to_have_text("2 selected")
    await page.get_by_role("button", name="Redrive selected…").click()
    dialog = page.locator("#dialog")
    await expect(dialog).to_be_visible()
    await expect(dialog.locator("h2")).to_have_text("Redrive 2 dead letters?")
    await expect(dialog.locator("#reason")).to_be_focused()
    await dialog.get_by_role("button", name="Redrive 2 dead letters").click()
    await expect(page.locator(".notice.good")).to_have_text("2 dead letters were redriven.")
    await expect(dialog).to_be_hidden()
    await expect(page.locator("#rail-dead")).to_contain_text("5")
    await expect(page.locator("td.pick input")).to_have_count(5)
    assert (await states(site))["dead"] == 5
    assert site.complaints == []


async def test_discarding_all_of_one_cause_needs_a_reason(site: Site) -> None:
    page = await site.open("/dead-letters")
    row = page.locator(".causes tbody tr", has_text="mail.send_confirmation")
    await row.get_by_role("link", name="Discard all…").click()
    dialog = page.locator("#dialog")
    await expect(dialog.locator("h2")).to_have_text("Discard 3 dead letters?")
    button = dialog.get_by_role("button", name="Discard 3 dead letters")
    await button.click()
    await expect(dialog).to_be_visible()
    assert (await states(site))["dead"] == 7, "the browser asks for the reason first"
    await dialog.locator("#reason").fill("agreed with ops")
    await button.click()
    await expect(page.locator(".notice.good")).to_have_text("3 dead letters were discarded.")
    assert await states(site) == {"dead": 4, "waiting": 2, "discarded": 3}
    await page.goto(f"{site.base}/audit")
    await expect(page.locator("tbody tr").first).to_contain_text("discard")
    await expect(page.locator("tbody tr").first).to_contain_text("agreed with ops")
    assert site.complaints == []


async def test_cancelling_changes_nothing(site: Site) -> None:
    page = await site.open(f"/dead-letters/{site.ground.seeded.dead[0]}")
    await page.get_by_role("link", name="Redrive…").click()
    await page.locator("#dialog").get_by_role("link", name="Cancel").click()
    await expect(page.locator("#dialog")).to_be_hidden()
    await page.get_by_role("link", name="Discard…").click()
    await expect(page.locator("#dialog h2")).to_have_text("Discard 1 dead letter?")
    await page.keyboard.press("Escape")
    await expect(page.locator("#dialog")).to_be_hidden()
    assert (await states(site))["dead"] == 7


async def test_acting_on_nothing_says_so_in_place(site: Site) -> None:
    page = await site.open("/dead-letters")
    await page.get_by_role("button", name="Redrive selected…").click()
    await expect(page.locator("#notice")).to_contain_text("Nothing is selected")
    await expect(page.locator("#dialog")).to_be_hidden()
    await expect(page.locator("td.pick input")).to_have_count(7)


async def test_an_actions_result_is_brought_into_view_with_the_focus_on_it(site: Site) -> None:
    page = await site.open("/dead-letters", viewport={"width": 1280, "height": 400})
    await page.locator("td.pick input").last.check()
    await page.get_by_role("button", name="Discard selected…").click()
    await page.locator("#reason").fill("agreed with ops")
    await page.locator("#dialog").get_by_role("button", name="Discard 1 dead letter").click()
    result = page.locator("main .notice", has_text="1 dead letter was discarded.")
    await expect(result).to_be_in_viewport(ratio=1)
    await expect(result).to_be_focused()
    assert site.complaints == []


async def test_a_refusal_is_brought_into_view(site: Site) -> None:
    page = await site.open("/dead-letters", viewport={"width": 1280, "height": 400})
    await page.locator("td.pick input").last.scroll_into_view_if_needed()
    await expect(page.locator("h1")).not_to_be_in_viewport()
    await page.get_by_role("button", name="Redrive selected…").click()
    await expect(page.locator("#notice .notice", has_text="Nothing is selected")).to_be_in_viewport(ratio=1)


async def test_many_concerns_stay_a_list_of_lines(site: Site) -> None:
    seeding = site.ground.seeding
    event = await seeding.event("shop.order.placed", {}, published_at=seeding.seeded.now)
    for number in range(8):
        await seeding.handler(f"module.handler{number}", "shop.order.placed")
        await seeding.delivery(event, f"module.handler{number}", "dead", "max_attempts")
    for width in (1280, 390):
        page = await site.open(viewport={"width": width, "height": 844})
        lines = page.locator(".concerns li")
        await expect(lines).to_have_count(7)
        await expect(lines.last).to_have_text("and 5 more, on the pages below")
        first, rest = await lines.first.bounding_box(), await lines.last.bounding_box()
        assert first is not None
        assert rest is not None
        assert rest["width"] == first["width"]
        assert rest["height"] <= 48, "one line"


async def test_filters_live_in_the_address(site: Site) -> None:
    page = await site.open("/events")
    await page.locator("#filter").fill("status:dead")
    await page.keyboard.press("Enter")
    await expect(page.locator("tbody tr")).to_have_count(7)
    assert page.url.endswith("/events?filter=status%3Adead")
    await page.locator(".chip", has_text="after:1h").click()
    await expect(page).to_have_url(re.compile(r"filter=status%3Adead\+after%3A1h$"))
    await expect(page.locator("#filter")).to_have_value("status:dead after:1h")
    await page.locator(".chip.on", has_text="status:dead").click()
    await expect(page.locator("tbody tr")).to_have_count(50)
    await page.get_by_role("link", name="Older →").click()
    await expect(page.locator("tbody tr")).to_have_count(27)
    await page.go_back()
    await expect(page.locator("tbody tr")).to_have_count(50)
    await page.go_back()
    await page.go_back()
    await expect(page.locator("tbody tr")).to_have_count(7)
    again = await site.open(page.url.removeprefix(site.base))
    await expect(again.locator("tbody tr")).to_have_count(7)
    assert site.complaints == []


async def test_a_filter_that_is_not_understood(site: Site) -> None:
    page = await site.open("/events")
    await page.locator("#filter").fill("stauts:dead")
    await page.keyboard.press("Enter")
    await expect(page.locator(".notice.error")).to_contain_text("Did you mean status:?")
    await expect(page.locator("#filter")).to_have_value("stauts:dead")


async def test_everything_works_without_scripts(site: Site) -> None:
    page = await site.open("/events", java_script_enabled=False)
    await page.locator("#filter").fill("name:payments.*")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.locator("tbody tr").first).to_contain_text("payments.payment.captured")
    await page.get_by_role("link", name="payments.payment.captured").first.click()
    await expect(page.locator("h1")).to_contain_text("payments.payment.captured")
    await page.get_by_role("navigation", name="Rooms").get_by_role("link", name="Dead letters").click()
    await expect(page.locator("[data-select-all]")).to_be_hidden()
    await page.locator("td.pick input").first.check()
    await page.get_by_role("button", name="Discard selected…").click()
    await page.locator("#reason").fill("no scripts here")
    await page.get_by_role("button", name="Discard 1 dead letter").click()
    await expect(page.locator(".notice.good")).to_have_text("1 dead letter was discarded.")
    assert (await states(site))["discarded"] == 1
    for path in paths(site):
        await page.goto(f"{site.base}{path}")
        await expect(page.locator("h1, h2").first).to_be_visible()


async def test_the_keyboard_is_enough(site: Site) -> None:
    page = await site.open()
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("g")
    await page.keyboard.press("d")
    await expect(page).to_have_url(re.compile("/dead-letters$"))
    for key in "jjjk":
        await page.keyboard.press(key)
    rows = page.locator("main a.row")
    await expect(rows.nth(1)).to_be_focused()
    for key in "jj":
        await page.keyboard.press(key)
    await page.keyboard.press("x")
    await expect(page.locator("[data-selected]")).to_have_text("1 selected")
    await page.keyboard.press("x")
    await page.keyboard.press("o")
    await expect(page).to_have_url(re.compile(r"/dead-letters/[0-9a-f-]{36}$"))
    await page.keyboard.press("?")
    await expect(page.locator("#help")).to_be_visible()
    await page.locator("[data-keys-off]").check()
    await page.keyboard.press("Escape")
    await page.keyboard.press("g")
    await page.keyboard.press("e")
    await expect(page).to_have_url(re.compile(r"/dead-letters/[0-9a-f-]{36}$"))
    await page.goto(f"{site.base}/events")
    await page.keyboard.press("/")
    await expect(page.locator("#filter")).not_to_be_focused()
    assert site.complaints == []


async def test_typing_is_not_taken_for_keys(site: Site) -> None:
    page = await site.open("/events")
    await page.keyboard.press("/")
    await expect(page.locator("#filter")).to_be_focused()
    await page.keyboard.type("gdjt?")
    await expect(page.locator("#filter")).to_have_value("gdjt?")
    assert page.url.endswith("/events")


async def test_the_theme_is_chosen_and_kept(site: Site) -> None:
    page = await site.open(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = await page.evaluate(background)
    await page.get_by_role("button", name="Theme").click()
    await page.get_by_role("button", name="Theme").click()
    dark = await page.evaluate(background)
    assert dark != light
    await page.reload()
    assert await page.evaluate(background) == dark
    await expect(page.locator("[data-theme-name]")).to_have_text("dark")


async def test_a_phone_needs_no_sideways_scrolling(site: Site) -> None:
    page = await site.open(viewport={"width": 390, "height": 844}, has_touch=True)
    for path in paths(site):
        await page.goto(f"{site.base}{path}")
        widths: Any = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1], path
    await page.goto(site.base)
    bar = page.get_by_role("navigation", name="Rooms")
    box = await bar.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] == 844, "the rooms are at the bottom"
    await bar.get_by_text("More").click()
    await bar.locator(".more").get_by_role("link", name="Workers").click()
    await expect(page.locator("h1")).to_have_text("Workers")


async def test_a_phone_shows_why_on_a_second_line(site: Site) -> None:
    shown = {
        "/audit": ["redrive", "ada@shop.example", "handler:mail.send_confirmation", "smtp is back"],
        "/workers": ["web-7f9c4d-x2k1q", "alive", "handles, 3 handlers", "runs out in"],
        "/consumers": ["payments.capture_payment", "live", "retry, the oldest", "4"],
    }
    page = await site.open(viewport={"width": 390, "height": 844}, has_touch=True)
    for path, words in shown.items():
        await page.goto(f"{site.base}{path}")
        row = page.locator("tbody tr").first
        for word in words:
            await expect(row.get_by_text(word).first).to_be_in_viewport(ratio=1)
    await page.goto(f"{site.base}/workers")
    late = page.locator("tbody tr", has_text="worker-5d8b9-qq7zt").locator(".late")
    await expect(late).to_be_visible()
    await expect(late).to_have_text("2")


async def test_what_belongs_together_stays_on_one_line(site: Site) -> None:
    seeding, long = site.ground.seeding, "a_module_with_a_long_name.and_a_handler_with_one_that_is_no_shorter"
    await seeding.handler(long, f"{long}.*", on_dead="continue")
    event = await seeding.event("shop.order.placed", {}, published_at=seeding.seeded.now - timedelta(hours=40))
    await seeding.delivery(event, long, "waiting", "no_handler")
    page = await site.open()
    for path in ("", "/consumers"):
        await page.goto(f"{site.base}{path}")
        await expect(page.locator("main table").get_by_text(long, exact=True)).to_be_visible()
        parts = page.locator("main :is(time, .unit)")
        lines = await parts.evaluate_all("all => all.map((part) => part.getClientRects().length)")
        assert set(lines) == {1}, path


async def test_nothing_is_cut_off_at_any_width(site: Site) -> None:
    seeding, long = site.ground.seeding, "a_module_with_a_long_name.and_a_handler_with_one_that_is_no_shorter"
    await seeding.handler(long, f"{long}.*")
    details = {"asked": 1, "changed": 1, "reason": "x" * 300}
    await seeding.action("redrive", f"{'someone.' * 5}@shop.example", f"handler:{long}", details, timedelta(0))
    page = await site.open()
    cut = (
        "[...document.querySelectorAll('.scroll')].some((s) => s.scrollWidth > s.clientWidth && "
        "getComputedStyle(s).overflowX === 'clip') || document.documentElement.scrollWidth > innerWidth"
    )
    for path in ROOMS:
        await page.goto(f"{site.base}{path}")
        for width in (360, 721, 900, 1001, 1280):
            await page.set_viewport_size({"width": width, "height": 844})
            assert not await page.evaluate(cut), (width, path)


@pytest.mark.usefixtures("quick_refresh")
async def test_a_refresh_brings_news_but_takes_nothing_away(site: Site) -> None:
    page = await site.open("/dead-letters")
    seeding = site.ground.seeding
    await expect(page.locator("td.pick input")).to_have_count(7)

    async def another() -> None:
        event = await seeding.event("orders.order.placed", {})
        await seeding.delivery(event, "mail.send_confirmation", "dead", "max_attempts", changed_at=seeding.seeded.now)

    await another()
    await expect(page.locator("td.pick input")).to_have_count(8)
    await expect(page.locator("#rail-dead")).to_contain_text("8")
    second = page.locator("td.pick input").nth(1)
    await second.check()
    await another()
    await page.evaluate(TWO_REFRESHES_HELD_BACK)
    await expect(second).to_be_checked()
    await expect(page.locator("td.pick input")).to_have_count(8)
    await second.uncheck()
    await expect(page.locator("td.pick input")).to_have_count(9)
    await page.keyboard.press("p")
    await expect(page.locator("[data-pause]")).to_have_text("Paused")
    assert site.complaints == []


@pytest.mark.usefixtures("quick_refresh")
async def test_an_open_traceback_stays_open(site: Site) -> None:
    page = await site.open(f"/dead-letters/{site.ground.seeded.dead[0]}")
    first = page.locator(".attempts details").first
    await first.locator("summary").click()
    await expect(first.locator("pre")).to_be_visible()
    async with page.expect_response(lambda response: response.request.headers.get("hx-target") == "div#live"):
        pass
    await expect(first.locator("pre")).to_be_visible()
    await site.ground.connection.execute(
        "UPDATE events.delivery SET note = 'seen', changed_at = changed_at - $2::interval WHERE id = $1",
        site.ground.seeded.dead[0], timedelta(hours=1),
    )  # fmt: skip
    await expect(page.locator(".facts")).to_contain_text("seen")
    await expect(first.locator("pre")).to_be_visible()


@pytest.mark.usefixtures("quick_refresh")
async def test_a_server_that_goes_away_is_told_and_forgotten(site: Site) -> None:
    page = await site.open("/workers")
    await page.route("**/workers", lambda route: route.abort())
    await expect(page.locator("#notice")).to_contain_text("cannot be reached")
    await expect(page.locator("tbody tr")).to_have_count(3)
    await page.unroute("**/workers")
    await expect(page.locator("#notice")).to_be_empty()


async def test_stored_markup_stays_text(site: Site) -> None:
    vector = "<img src=x onerror=alert(1)><div hx-get=/events/dashboard/audit hx-trigger=load>"
    event = await site.ground.seeding.event("orders.order.placed", {"text": vector}, tenant_id=vector, actor=vector)
    page = await site.open(f"/events/{event['id']}")
    await expect(page.locator("pre").first).to_contain_text(vector)
    assert await page.locator("main img, main [hx-trigger=load]").count() == 0
    assert site.complaints == []
