"""A process that is frozen inside a handler keeps its mark: nobody else loses an attempt over it, or stands still."""

import asyncpg

from fastapi_events import HandlerSession, Module, Retry, fixed
from tests.delivery.stage import Placed, Stage, effect, publish, until


async def test_waiting_for_a_frozen_workers_mark_spends_no_attempt_and_holds_up_nobody(stage: Stage) -> None:
    module = Module("shop")

    @module.on(Placed, retry=Retry(1, fixed(0)), timeout=4)
    async def handle(event: Placed, session: HandlerSession) -> None:
        await effect(session, "handle", event.number)

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1)])
    event_id = await stage.value("SELECT id FROM events.event")
    handler = await stage.value("SELECT id FROM events.handler")
    frozen = await asyncpg.connect(stage.url)
    try:
        await frozen.execute("BEGIN")
        await frozen.execute(
            "INSERT INTO events.processing_mark (handler_id, key, position) VALUES ($1, $2, 0)", handler, event_id
        )
        await events.drain_once()
        [waiting] = await stage.deliveries()
        assert (waiting["state"], waiting["attempts"], waiting["postponed"]) == ("waiting", 0, 1)
        await publish(events, [Placed(order="b", number=2)])
        await events.drain_once()
        assert await stage.value("SELECT count(*) FROM effect WHERE number = 2") == 1
    finally:
        await frozen.execute("ROLLBACK")
        await frozen.close()
    await stage.make_due()

    async def handled() -> bool:
        await events.drain_once()
        return await stage.value("SELECT count(*) FROM effect WHERE number = 1") == 1

    await until(handled)
    [done] = await stage.deliveries()
    assert (done["state"], done["attempts"]) == ("done", 1)


async def test_the_server_ends_the_transaction_of_a_frozen_handler(stage: Stage) -> None:
    module, settings = Module("shop"), {}

    @module.on(Placed, timeout=7)
    async def handle(event: Placed, session: HandlerSession) -> None:
        connection = await session.connection()
        for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
            settings[name] = (await connection.exec_driver_sql(f"SHOW {name}")).scalar()

    events = await stage.idle(module)
    await publish(events, [Placed(order="a", number=1)])
    await events.drain_once()
    assert settings == {"lock_timeout": "3500ms", "idle_in_transaction_session_timeout": "12s"}
