"""The examples of the reference pages do what the pages say of them."""

from collections.abc import Callable

from fastapi_events import Events
from tests.docs.pages import Project
from tests.docs.serving import execute

Made = Callable[[str], Project]


async def test_events_can_be_published_in_every_way(project: Made, clean_database: str) -> None:
    names = await project("docs/reference/events.md").run_snippets()
    events = Events()
    async with events.lifespan(), events.session() as session:
        published = await names["publish_in_every_way"](events.publisher(session))
        await session.commit()
        again = await names["publish_in_every_way"](events.publisher(session))
        await session.rollback()
    assert [one.duplicate for one in published] == [False] * 6
    assert [one.duplicate for one in again] == [False] * 5 + [True]
    rows = await execute(clean_database, "SELECT name, key FROM events.event ORDER BY position")
    assert {("legacy.customer.moved", "/customer/4711"), ("orders.order.placed", "acme/order/warehouse-2")} <= {
        *map(tuple, rows)
    }


async def test_handlers_are_given_what_they_ask_for_and_steer(project: Made, clean_database: str) -> None:
    names = await project("docs/reference/handlers.md").run_snippets()
    events: Events = names["events"]
    await execute(clean_database, "CREATE TABLE shelf AS SELECT unnest(ARRAY[1, 2]) AS order_id, 'LAMP' AS sku")
    await events.start(drains=False)
    try:
        for order_id in (0, -1, 1):
            await events.publish(names["OrderPlaced"](order_id=order_id))
        await events.drain_once()
        states = await execute(
            clean_database,
            "SELECT e.payload ->> 'order_id' AS order_id, d.state, d.reason FROM events.delivery d "
            "JOIN events.handler h ON h.id = d.handler_id JOIN events.event e ON e.position = d.position "
            "WHERE h.name = 'inventory.ship' ORDER BY order_id",
        )
        left = await execute(clean_database, "SELECT order_id FROM shelf")
    finally:
        await events.stop()
        await execute(clean_database, "DROP TABLE shelf")
    assert [row["order_id"] for row in left] == [2]
    assert [tuple(row) for row in states] == [
        ("-1", "dead", "rejected_by_handler"),
        ("0", "discarded", "rejected_by_handler"),
        ("1", "waiting", "retry"),
    ]
