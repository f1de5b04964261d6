"""What PostgreSQL refuses to record costs one event, and no other; what would be refused is refused at publish."""

import logging
from typing import Any

import pytest

from fastapi_events import EventPublisher, HandlerSession, Module, Retry
from tests.delivery.stage import Placed, Shipped, Stage, effect, publish, until

REFUSE = """
    CREATE OR REPLACE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.payload ->> 'order' = 'poison' THEN RAISE EXCEPTION E'no poison \\x1b[31mhere'; END IF; RETURN NEW;
    END $$
"""
TRIGGER = "CREATE TRIGGER refuse BEFORE INSERT ON events.event FOR EACH ROW EXECUTE FUNCTION refuse_poison()"
DIE = """
    CREATE OR REPLACE FUNCTION refuse_delivery() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.slot = '/order/poison' THEN RAISE 'index row size' USING ERRCODE = '54000'; END IF; RETURN NEW;
    END $$
"""


@pytest.fixture
async def triggers(stage: Stage) -> Any:
    """Takes away what a test has put on the library's tables."""
    yield
    await stage.rows("DROP TRIGGER IF EXISTS refuse ON events.event")
    await stage.rows("DROP TRIGGER IF EXISTS refuse ON events.parked_key")
    await stage.rows("DROP FUNCTION IF EXISTS refuse_poison, refuse_delivery")


async def refuse_children(stage: Stage) -> None:
    await stage.rows(REFUSE)
    await stage.rows(TRIGGER)


@pytest.mark.usefixtures("triggers")
async def test_a_child_that_cannot_be_written_costs_its_event_only(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, id="publishing", retry=Retry(1))
    async def handle(event: Placed, publish: EventPublisher) -> None:
        seen.append(event.number)
        await publish(Shipped(order=f"of {event.order}", number=event.number))
        if event.number == 13:
            await publish(Shipped(order="poison", number=event.number))

    @module.on(Placed, id="bystander")
    async def watch(event: Placed) -> None:
        seen.append(1000 + event.number)

    @module.on(Placed, id="transactional")
    async def store(event: Placed, session: HandlerSession) -> None:
        await effect(session, "transactional", event.number)

    await refuse_children(stage)
    events = await stage.idle(module)
    await publish(events, [Placed(order=f"k{number}", number=number) for number in range(40)])
    with caplog.at_level(logging.ERROR, "fastapi_events"):
        assert await events.drain_once() >= 40
    assert sorted(seen) == [*range(40), *range(1000, 1040)]
    [dead] = await stage.deliveries()
    assert (dead["handler"], dead["state"], dead["reason"]) == ("publishing", "dead", "unsettleable")
    assert "no poison" in dead["error_message"]
    assert "\x1b" not in dead["error_message"]
    children = await stage.rows("SELECT payload ->> 'number' AS n FROM events.event WHERE name = 'shop.order.shipped'")
    assert sorted(int(row["n"]) for row in children) == [n for n in range(40) if n != 13]
    assert await stage.value("SELECT count(*) FROM effect") == 40
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "unsettleable" in line
    assert "publishing" in line
    assert "\x1b" not in line
    # Nothing is called again, and nothing was recorded twice.
    assert await events.drain_once() == 0
    recorded = "SELECT h, p FROM events.success_batch, unnest(handler_ids) h, unnest(positions) p GROUP BY 1, 2"
    assert await stage.value(f"SELECT count(*) FROM ({recorded} HAVING count(*) > 1) twice") == 0
    placed = "p IN (SELECT position FROM events.event WHERE name = 'shop.order.placed')"
    assert await stage.value(f"SELECT count(*) FROM ({recorded}) once WHERE {placed}") == 3 * 40 - 1


@pytest.mark.usefixtures("triggers")
async def test_a_redrive_brings_the_event_back(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(1), idempotency_key=lambda event: f"once {event.number}")
    async def handle(event: Placed, publish: EventPublisher) -> None:
        seen.append(event.number)
        await publish(Shipped(order="poison", number=event.number))

    await refuse_children(stage)
    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    await publish(events, [Placed(order="a", number=2)])
    await events.drain_once()
    rows = await stage.deliveries()
    assert [(row["state"], row["reason"]) for row in rows] == [("dead", "unsettleable"), ("waiting", "key_blocked")]
    await stage.rows("DROP TRIGGER refuse ON events.event")
    await stage.rows("UPDATE events.delivery SET state = 'waiting', reason = 'redrive' WHERE state = 'dead'")
    await stage.rows("UPDATE events.parked_key SET due_at = clock_timestamp()")
    await events.drain_once()
    assert seen == [1, 1, 2]
    assert [row["state"] for row in await stage.deliveries()] == ["done", "done"]


@pytest.mark.usefixtures("triggers")
async def test_a_key_that_cannot_be_parked_dies_alone(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed, retry=Retry(5))
    async def handle(event: Placed) -> None:
        seen.append(event.order)
        if event.order in ("poison", "sick"):
            raise ValueError(event.order)

    await stage.rows(DIE)
    await stage.rows(
        "CREATE TRIGGER refuse BEFORE INSERT ON events.parked_key FOR EACH ROW EXECUTE FUNCTION refuse_delivery()"
    )
    events = await stage.running(module)
    orders = [f"k{number}" for number in range(20)] + ["poison", "sick"] + [f"l{number}" for number in range(20)]
    await publish(events, [Placed(order=order) for order in orders])
    await until(lambda: seen.count("sick") == 5, "the other failing event to use its attempts up")
    await until(lambda: len(set(seen)) == 42)

    async def dead() -> bool:
        return len(await stage.deliveries("dead")) == 2

    await until(dead)
    rows = {row["slot"].removeprefix("/order/"): row["reason"] for row in await stage.deliveries()}
    assert rows.pop("sick") == "max_attempts"
    assert list(rows.values()) == ["unsettleable"]
    assert seen.count("poison") == 1


async def test_lacking_a_table_kills_no_event(stage: Stage) -> None:
    module, seen = Module("shop"), []

    @module.on(Placed)
    async def handle(event: Placed) -> None:
        seen.append(event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1)])
    await stage.rows("ALTER TABLE events.success_batch RENAME TO taken_away")
    try:
        with pytest.raises(Exception, match="success_batch"):
            await events.drain_once()
    finally:
        await stage.rows("ALTER TABLE events.taken_away RENAME TO success_batch")
    assert await stage.deliveries() == []
