"""The history: what became of each event, page by page, however it is searched."""

from datetime import timedelta

from fastapi_events.api.observe.views import EventPage
from tests.dashboard.ground import Ground


async def walk(ground: Ground, where: str, size: int) -> list[int]:
    """Every position, from the newest page down."""
    positions: list[int] = []
    before = None
    while True:
        page = await ground.port.observe.events(where, before=before, limit=size)
        positions += [event.position for event in page.events]
        if page.older is None:
            return positions
        before = page.older


async def walk_up(ground: Ground, where: str, size: int, above: int) -> list[int]:
    """The same from below."""
    positions: list[int] = []
    after: int | None = above
    while after is not None:
        page = await ground.port.observe.events(where, after=after, limit=size)
        positions = [event.position for event in page.events] + positions
        after = page.newer
    return positions


def statuses(page: EventPage) -> dict[str, int]:
    found: dict[str, int] = {}
    for event in page.events:
        found[event.status] = found.get(event.status, 0) + 1
    return found


async def test_paging_up_and_down_shows_every_event_once(shop: Ground) -> None:
    for where in ("", "name:orders.*", "tenant:acme", "status:done", "status:dead", "after:15m"):
        whole = [event.position for event in (await shop.port.observe.events(where, limit=100)).events]
        assert len(whole) > 5
        assert await walk(shop, where, 7) == whole, where
        assert await walk_up(shop, where, 7, whole[-1] - 1) == whole, where


async def test_every_state_is_told_apart(bare: Ground) -> None:
    seeding = bare.seeding
    for name in ("a.first", "a.second"):
        await seeding.handler(name, "shop.order.placed")
    events = {state: await seeding.event("shop.order.placed", {}, aggregate_id=state) for state in
              ("done", "waiting", "dead", "discarded", "redriven")}  # fmt: skip
    nobody = await seeding.event("shop.order.counted", {})
    await seeding.delivery(events["waiting"], "a.first", "waiting", "retry")
    await seeding.delivery(events["dead"], "a.first", "dead", "max_attempts")
    await seeding.delivery(events["discarded"], "a.first", "discarded", "max_attempts", note="not needed")
    await seeding.delivery(events["redriven"], "a.first", "done", "redrive")
    await seeding.settle_all()
    pending = await seeding.event("shop.order.placed", {}, aggregate_id="pending")
    audit = await seeding.event("shop.order.placed", {}, lane="audit")
    found = {event.id: event.status for event in (await bare.port.observe.events()).events}
    assert found == {
        **{events[state]["id"]: state for state in ("done", "waiting", "dead", "discarded")},
        events["redriven"]["id"]: "done", nobody["id"]: "unhandled", pending["id"]: "pending", audit["id"]: "audit",
    }  # fmt: skip


async def test_the_status_filter_finds_exactly_what_the_list_shows(shop: Ground) -> None:
    all_events = (await shop.port.observe.events(limit=100)).events
    for state in ("done", "waiting", "dead", "discarded", "pending"):
        expected = [event.position for event in all_events if event.status == state]
        found = (await shop.port.observe.events(f"status:{state}", limit=100)).events
        assert [event.position for event in found] == expected, state


async def test_a_status_of_one_handler(shop: Ground) -> None:
    page = await shop.port.observe.events("status:dead handler:mail.send_confirmation", limit=100)
    assert len(page.events) == 3
    for event in page.events:
        assert [s.state for s in event.handlers if s.handler == "mail.send_confirmation"] == ["dead"]
    done = await shop.port.observe.events("status:done handler:inventory.reserve_stock", limit=100)
    assert {event.name for event in done.events} == {"orders.order.placed"}


async def test_a_handler_is_not_blamed_for_what_was_published_before_it(bare: Ground) -> None:
    before = await bare.seeding.event("shop.order.placed", {})
    await bare.seeding.handler("late.comer", "shop.order.placed")
    after = await bare.seeding.event("shop.order.placed", {})
    found = {event.id: event.status for event in (await bare.port.observe.events()).events}
    assert found == {before["id"]: "unhandled", after["id"]: "pending"}


async def test_an_event_inside_an_open_window_is_done_once_the_cursor_is_past_it(bare: Ground) -> None:
    await bare.seeding.handler("a.first", "shop.order.placed")
    first = await bare.seeding.event("shop.order.placed", {}, aggregate_id="one")
    second = await bare.seeding.event("shop.order.placed", {}, aggregate_id="one")
    await bare.connection.execute(
        "INSERT INTO events.cursor_log (group_id, lane, partition, seq, seen, target, position, floor, remaining) "
        "SELECT group_id, lane, partition, 1, seen, pg_current_snapshot(), $2, $3, 1 FROM events.cursor_log "
        "WHERE group_id = $1 AND lane = 1 AND partition = $4",
        bare.seeded.group, first["position"], first["position"] - 1, first["partition"],
    )  # fmt: skip
    found = {event.id: event.status for event in (await bare.port.observe.events()).events}
    assert found == {first["id"]: "done", second["id"]: "pending"}
    overview = await bare.port.observe.overview()
    assert [(lane.pending, lane.oldest_pending) for lane in overview.lanes if lane.lane == "change"] == [
        (1, second["published_at"])
    ]


async def test_a_mark_proves_it_before_the_cursor_moves_but_a_tombstone_does_not(bare: Ground) -> None:
    number = await bare.seeding.handler("a.first", "shop.order.placed")
    done, dead = [await bare.seeding.event("shop.order.placed", {}) for _ in range(2)]
    for event, outcome in ((done, "d"), (dead, "x")):
        await bare.connection.execute(
            "INSERT INTO events.processing_mark (handler_id, key, position, outcome) VALUES ($1, $2, $3, $4::\"char\")",
            number, event["id"], event["position"], outcome.encode(),
        )  # fmt: skip
    found = {event.id: event.status for event in (await bare.port.observe.events()).events}
    assert found == {done["id"]: "done", dead["id"]: "pending"}


async def test_times_are_found_by_bisection(bare: Ground) -> None:
    now = bare.seeded.now
    for minutes in range(120, 0, -1):
        await bare.seeding.event("shop.order.placed", {}, published_at=now - timedelta(minutes=minutes))
    day = (now - timedelta(minutes=60, seconds=30)).isoformat()
    assert len((await bare.port.observe.events(f"after:{day}", limit=100)).events) == 60
    assert len((await bare.port.observe.events(f"before:{day} after:90m", limit=100)).events) == 29
    assert statuses(await bare.port.observe.events("before:3h")) == {}


CONDITIONS = [
    ("payload.sku:C-3", 3),
    ("payload.card.number:4111111111111111 tenant:nordwind", 12),
    ("payload.quantity:2 aggregate:order/pending-1", 1),
    ('name:"orders.order.placed" aggregate:order/5a11ffff-93a1-4c6e-8a77-0d2e5b1c9f00', 1),
    ("actor:web name:payments.*", 0),
    ("name:*.placed actor:web", 24),
    ("name:orders_order.placed", 0),
]


async def test_conditions_are_joined(shop: Ground) -> None:
    for where, number in CONDITIONS:
        assert len((await shop.port.observe.events(where, limit=100)).events) == number, where


async def test_a_search_across_a_gap_of_millions_of_positions_arrives(bare: Ground) -> None:
    old = await bare.seeding.event("shop.order.placed", {})
    await bare.connection.execute("SELECT setval('events.event_position', $1)", old["position"] + 5_000_000)
    new = await bare.seeding.event("shop.order.placed", {})
    assert await walk(bare, "name:shop.order.placed", 1) == [new["position"], old["position"]]
    assert await walk_up(bare, "", 1, 0) == [new["position"], old["position"]]


async def test_a_detail_holds_deliveries_attempts_and_the_conversation(shop: Ground) -> None:
    delivery = await shop.port.observe.delivery(shop.seeded.dead[0])
    assert delivery is not None
    event = await shop.port.observe.event(delivery.event_id)
    assert event is not None
    by_handler = {d.handler: d for d in event.deliveries}
    dead = by_handler["payments.capture_payment"]
    assert (dead.state, dead.reason, dead.attempts, len(dead.history)) == ("dead", "max_attempts", 3, 3)
    assert "ProviderDown" in (dead.history[-1].traceback or "")
    done = by_handler["inventory.reserve_stock"]
    assert done.state == "done"
    assert done.done_at is not None
    assert done.worker_id == shop.seeded.worker
    assert [other.name for other in event.conversation] == ["orders.order.placed", "inventory.stock.reserved"]
    assert event.conversation[1].causation_id == event.id
