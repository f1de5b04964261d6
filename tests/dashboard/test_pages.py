"""Every page: what it shows, what it carries, and what htmx gets of it."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from fastapi_events.settings import EventsSettings
from tests.dashboard.ground import Ground, app_of, by_header, client_of

ROOMS = ["", "/", "/events", "/dead-letters", "/consumers", "/replays", "/workers", "/audit"]
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
LIVE = {"HX-Request": "true", "HX-Request-Type": "partial", "HX-Target": "div#live"}


async def test_every_room_of_a_busy_shop(shop: Ground) -> None:
    shown = {
        "": ["payments.capture_payment has 4 dead letters", "Nothing needs attention", "last 30 minutes", "17 ms"],
        "/events": ["orders.order.placed", "Older", "order/", "pending"],
        "/dead-letters": ["ProviderDown", "Redrive all…", "By cause", "Behind it"],
        "/consumers": ["mail.send_confirmation", "live", "by key"],
        "/workers": ["web-7f9c4d-x2k1q", "alive", "lost", "Late results"],
        "/audit": ["ada@shop.example", "smtp is back", "redrive"],
    }
    for path, words in shown.items():
        page = await shop.client.get(f"/events/dashboard{path}")
        assert page.status_code == 200
        assert re.search(r"<h1[^>]*>", page.text)
        missing = [word for word in words if word not in page.text]
        assert missing == (["Nothing needs attention"] if path == "" else []), path


async def test_every_room_of_an_empty_house_teaches(bare: Ground) -> None:
    for path, words in {
        "": "@orders.on(OrderPlaced)",
        "/events": "await publish(",
        "/dead-letters": "Retry(max_attempts=5",
        "/consumers": "@mail.on(",
        "/workers": "fastapi-events worker",
        "/scheduled": "published with <code>delay=</code>",
        "/replays": "gives history again to one handler",
        "/audit": "Every redrive, discard, cancellation and erasure is recorded",
    }.items():
        page = await bare.client.get(f"/events/dashboard{path}")
        assert page.status_code == 200
        assert words in page.text


async def test_calm_is_said_in_one_line(bare: Ground) -> None:
    await bare.seeding.handler("a.first", "shop.order.placed")
    await bare.seeding.process()
    page = await bare.client.get("/events/dashboard")
    assert "Nothing needs attention." in page.text


async def test_a_handler_that_begins_with_history_is_seen_to_catch_up(bare: Ground) -> None:
    handler = await bare.seeding.handler("a.new", "shop.order.placed")
    replay = await bare.connection.fetchval(
        "INSERT INTO events.replay (id, handler_id, starts, from_position, to_position, created_by, reason) "
        "VALUES (gen_random_uuid(), $1, true, 1, 100, 'start', 'the handler is new') RETURNING id",
        handler,
    )
    await bare.connection.execute(
        "INSERT INTO events.replay_share (replay_id, lane, partition, position, seen) "
        "VALUES ($1, 1, 0, 25, pg_current_snapshot())",
        replay,
    )
    assert "catching up" in (await bare.client.get("/events/dashboard/consumers")).text
    listed = (await bare.client.get("/events/dashboard/replays")).text
    assert "a.new" in listed
    assert "25 % delivered" in listed
    page = (await bare.client.get(f"/events/dashboard/replays/{replay}")).text
    assert "of the positions" in page
    assert "what is live waits for the end" in page
    assert "by start: the handler is new" in page
    for action, words in (("pause", "What is live of the handler waits"), ("cancel", "goes on with what is live")):
        path = f"/events/dashboard/replays/{replay}/confirm?action={action}"
        assert words in (await bare.client.get(path)).text


async def test_a_handler_that_nobody_has_is_told_with_what_helps(bare: Ground) -> None:
    await bare.seeding.handler("a.gone", "shop.order.placed")
    event = await bare.seeding.event("shop.order.placed", {}, published_at=bare.seeding.seeded.now)
    await bare.seeding.delivery(event, "a.gone", "waiting", "no_handler")
    page = (await bare.client.get("/events/dashboard")).text
    assert "No live process has a.gone" in page
    assert "1 delivery waiting for it. Start a process that has it." in page
    assert "retire" not in page


async def test_triggers_are_shown_with_the_jobs_that_they_start(bare: Ground) -> None:
    trigger = await bare.seeding.handler("a.restock.low", "shop.order.placed")
    await bare.connection.execute("UPDATE events.handler SET job = 'a.restock' WHERE id = $1", trigger)
    event = await bare.seeding.event("shop.order.placed", {}, published_at=bare.seeding.seeded.now)
    await bare.seeding.delivery(event, "a.restock.low", "waiting", "trigger_unregistered")
    page = (await bare.client.get(f"/events/dashboard/events/{event['id']}")).text
    assert "starts a.restock" in page
    assert "trigger_unregistered" in page
    assert "starts a.restock" in (await bare.client.get("/events/dashboard/consumers")).text
    await bare.connection.execute(
        "UPDATE events.delivery SET state = 'done', reason = 'skipped', note = 'its condition did not hold'"
    )
    page = (await bare.client.get(f"/events/dashboard/events/{event['id']}")).text
    assert "skipped, " in page
    assert "its condition did not hold" in page


async def test_how_many_processes_have_vanished_over_a_delivery_is_told(bare: Ground) -> None:
    await bare.seeding.handler("a.fragile", "shop.order.placed")
    event = await bare.seeding.event("shop.order.placed", {}, published_at=bare.seeding.seeded.now)
    delivery = await bare.seeding.delivery(event, "a.fragile", "waiting", "crash_suspect", crashes=2)
    for path in (f"dead-letters/{delivery}", f"events/{event['id']}"):
        page = (await bare.client.get(f"/events/dashboard/{path}")).text
        assert "crash_suspect" in page
        assert "2 processes have vanished over it" in page


async def test_what_waits_for_a_release_that_does_not_come_is_told(bare: Ground) -> None:
    """Its handler is there, but reads older versions only."""
    await bare.seeding.handler("a.old", "shop.order.placed")
    await bare.seeding.process()
    now = bare.seeding.seeded.now
    recent = await bare.seeding.event("shop.order.placed", {}, published_at=now, aggregate_id="a")
    await bare.seeding.delivery(recent, "a.old", "waiting", "no_handler")
    assert "Nothing needs attention." in (await bare.client.get("/events/dashboard")).text
    old = await bare.seeding.event("shop.order.placed", {}, published_at=now - timedelta(minutes=2), aggregate_id="b")
    await bare.seeding.delivery(old, "a.old", "waiting", "no_handler")
    page = (await bare.client.get("/events/dashboard")).text
    assert "a.old waits for another release" in page
    assert "2 deliveries waiting, some of a newer version" in page


async def test_one_state_has_one_name(bare: Ground) -> None:
    await bare.seeding.handler("a.gone", "shop.order.placed")
    for path in ("", "/consumers"):
        page = (await bare.client.get(f"/events/dashboard{path}")).text
        assert re.findall(r'class="status \w+">.*?<span>([^<]+)</span>', page, re.DOTALL)[0] == "no process", path
        assert ">missing<" not in page


async def test_words_say_what_is_meant(shop: Ground) -> None:
    overview = (await shop.client.get("/events/dashboard")).text
    assert "Later events of the same key wait until somebody acts." in overview, "true without a key as well"
    assert ">Shortcuts</button>" in overview
    workers = (await shop.client.get("/events/dashboard/workers")).text
    assert re.search(r"runs out <time [^>]+>in \d+ min</time>", " ".join(workers.split()))


async def test_how_processes_are_woken(shop: Ground) -> None:
    page = (await shop.client.get("/events/dashboard")).text
    assert "2 woken by notifications" in page
    page = (await shop.client.get("/events/dashboard/workers")).text
    assert re.findall(r">(notifications|polling|listening)<", page) == ["notifications", "notifications", "polling"]


async def test_details(shop: Ground) -> None:
    letter = await shop.port.observe.delivery(shop.seeded.dead[0])
    assert letter is not None
    page = (await shop.client.get(f"/events/dashboard/dead-letters/{letter.id}")).text
    for words in (
        "max_attempts",
        "provider.py",
        "#3",
        "all with this cause",
        letter.event_name,
        "customer4@example.org",
    ):
        assert words in page
    event = (await shop.client.get(f"/events/dashboard/events/{letter.event_id}")).text
    for words in (
        "Deliveries",
        "after publishing",
        "Conversation",
        "inventory.stock.reserved",
        "traceparent",
        "Open dead",
    ):
        assert words in event


async def test_headers_on_every_answer_refusals_included(shop: Ground) -> None:
    paths = [
        *ROOMS,
        "/events?filter=nope",
        "/events/01a1fd14-aa10-74a7-a53f-8718d62eae79",
        "/events/x",
        "/dead-letters/confirm",
    ]
    for path in paths:
        answer = await shop.client.get(f"/events/dashboard{path}")
        assert answer.headers["content-security-policy"] == POLICY, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "private, no-store"
        assert answer.headers["vary"] == "HX-Request, HX-Request-Type, HX-History-Restore-Request"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    async with client_of(app_of(replace(shop.port, settings=EventsSettings(development=False)))) as client:
        closed = await client.get("/events/dashboard")
        assert closed.status_code == 403
        assert closed.headers["content-security-policy"] == POLICY
        assert "authorize=operators" in closed.text


async def test_htmx_gets_the_part_it_asked_for_and_a_browser_the_page(shop: Ground) -> None:
    for path in ROOMS:
        part = await shop.client.get(f"/events/dashboard{path}", headers=LIVE)
        assert part.text.lstrip().startswith('<div id="live"'), path
        assert "<html" not in part.text
        assert 'id="rail-dead"' in part.text, "the count beside it comes along"
        main = await shop.client.get(f"/events/dashboard{path}", headers={**LIVE, "HX-Target": "main#main"})
        assert "<h1" in main.text
        assert "<html" not in main.text
        old = await shop.client.get(f"/events/dashboard{path}", headers={"HX-Request": "true", "HX-Target": "live"})
        assert old.text.lstrip().startswith('<div id="live"'), "htmx 2 names its target without the tag"
        for whole in ({**LIVE, "HX-Request-Type": "full"}, {**LIVE, "HX-History-Restore-Request": "true"}, {}):
            page = await shop.client.get(f"/events/dashboard{path}", headers=whole)
            assert page.text.startswith("<!doctype html>")


async def test_a_refresh_without_news_is_304(shop: Ground) -> None:
    await shop.connection.execute("DELETE FROM events.worker")
    first = await shop.client.get("/events/dashboard/audit", headers=LIVE)
    tag = first.headers["etag"]
    again = await shop.client.get("/events/dashboard/audit", headers={**LIVE, "If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    await shop.seeding.action("discard", "ada", "x", {}, shop.seeded.now - shop.seeded.now)
    news = await shop.client.get("/events/dashboard/audit", headers={**LIVE, "If-None-Match": tag})
    assert news.status_code == 200


async def test_refusals_are_fragments_for_htmx(shop: Ground) -> None:
    for path, headers, status in (
        ("/dead-letters/confirm?action=redrive", {**LIVE, "HX-Target": "dialog#dialog"}, 422),
        ("/events/01a1fd14-aa10-74a7-a53f-8718d62eae79", {**LIVE, "HX-Target": "main#main"}, 404),
    ):
        answer = await shop.client.get(f"/events/dashboard{path}", headers=headers)
        assert answer.status_code == status
        assert answer.headers["hx-retarget"] == "#notice"
        assert "<html" not in answer.text
        assert 'role="alert"' in answer.text


async def test_a_host_that_redirects_to_its_login(shop: Ground) -> None:
    from fastapi import HTTPException

    def to_login() -> None:
        raise HTTPException(303, headers={"Location": "/login"})

    async with client_of(app_of(replace(shop.port, authorize=to_login))) as client:
        page = await client.get("/events/dashboard")
        assert (page.status_code, page.headers["location"]) == (303, "/login")
        part = await client.get("/events/dashboard", headers=LIVE)
        assert (part.status_code, part.headers["hx-redirect"]) == (204, "/login")


async def test_the_actor_is_named_and_development_is_marked(shop: Ground) -> None:
    assert "open to everybody" in (await shop.client.get("/events/dashboard")).text
    async with client_of(app_of(replace(shop.port, authorize=by_header)), headers={"X-Permissions": "view"}) as client:
        page = (await client.get("/events/dashboard")).text
        assert "Ada" in page
        assert "open to everybody" not in page


async def test_static_files_last_as_long_as_their_version(shop: Ground) -> None:
    page = (await shop.client.get("/events/dashboard")).text
    files = re.findall(r'(?:src|href)="(/events/dashboard/static/[^"]+)"', page)
    assert len(files) == 5
    for path in files:
        answer = await shop.client.get(path)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        stale = await shop.client.get(re.sub(r"/static/\w+/", "/static/000000000000/", path))
        assert (stale.status_code, stale.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize(
    "name", ["../mount.py", "..%2f..%2fmount.py", "%2e%2e/mount.py", "manifest.json", "/etc/passwd", "x"]
)
async def test_only_named_files_are_served(shop: Ground, name: str) -> None:
    answer = await shop.client.get(f"/events/dashboard/static/x/{name}")
    assert answer.status_code == 404
    assert "import" not in answer.text
