"""The domain's tables, and the notes that the database itself takes of who wrote what when."""

from __future__ import annotations

import asyncio

import asyncpg

from fastapi_events.store import schema

# `effect` has no unique constraint: a second application of an event's effects must be able to show. `id` is drawn in
# the handler's own transaction, so along one key it grows in the order of application.
DOMAIN = """
CREATE SCHEMA chaos;
CREATE TABLE chaos.account (id integer PRIMARY KEY, seq integer NOT NULL DEFAULT 0);
CREATE TABLE chaos.placed (order_id uuid PRIMARY KEY, account integer NOT NULL, seq integer NOT NULL);
CREATE TABLE chaos.effect (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, handler text NOT NULL, order_id uuid NOT NULL,
    account integer NOT NULL, seq integer NOT NULL, process text NOT NULL, attempt integer NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON chaos.effect (order_id, handler);
CREATE TABLE chaos.booking (id uuid PRIMARY KEY, request integer NOT NULL, fate text NOT NULL);
CREATE TABLE chaos.booked (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, booking_id uuid NOT NULL, fate text NOT NULL);
CREATE INDEX ON chaos.booked (booking_id);
CREATE TABLE chaos.reached (process text NOT NULL, place text NOT NULL);
CREATE TABLE chaos.gate (process text NOT NULL, place text NOT NULL, word text NOT NULL, PRIMARY KEY (process, place));
INSERT INTO chaos.account SELECT generate_series(0, 199);
"""

# Every bookkeeping connection of a worker says in `chaos.process` which process it belongs to.
AUDIT = """
ALTER TABLE events.cursor_log
    ADD COLUMN noted_at timestamptz DEFAULT clock_timestamp(),
    ADD COLUMN process text DEFAULT current_setting('chaos.process', true);
CREATE TABLE chaos.key_change (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, handler_id integer, slot text, kind text, process text,
    expired boolean, token bigint, old_token bigint, old_blocked boolean);
CREATE FUNCTION chaos.note_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.key_change (handler_id, slot, kind, process, expired, token, old_token, old_blocked)
    VALUES (NEW.handler_id, NEW.slot,
            CASE WHEN NEW.token = OLD.token AND NEW.worker_id IS NOT DISTINCT FROM OLD.worker_id THEN 'other'
                 WHEN NEW.worker_id IS NULL THEN 'settle' ELSE 'claim' END,
            current_setting('chaos.process', true), OLD.due_at <= clock_timestamp(), NEW.token, OLD.token, OLD.blocked);
    RETURN NULL;
END $$;
-- Parked by an attempt that goes on beside its lane: it holds the key from the first moment.
CREATE FUNCTION chaos.note_key_held() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos.key_change (handler_id, slot, kind, process, token)
    VALUES (NEW.handler_id, NEW.slot, 'claim', current_setting('chaos.process', true), NEW.token);
    RETURN NULL;
END $$;
CREATE TRIGGER note_change AFTER UPDATE ON events.parked_key
    FOR EACH ROW EXECUTE FUNCTION chaos.note_key_change();
CREATE TRIGGER note_held AFTER INSERT ON events.parked_key
    FOR EACH ROW WHEN (NEW.worker_id IS NOT NULL) EXECUTE FUNCTION chaos.note_key_held();
"""


def install(url: str) -> None:
    """Make the product's schema, the domain's tables and the audit in an empty database."""
    asyncio.run(_install(url))


async def _install(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await schema.upgrade(connection)
        await connection.execute(DOMAIN)
        await connection.execute(AUDIT)
    finally:
        await connection.close()
