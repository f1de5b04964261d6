"""What a downgrade would lose: the tables that hold events and what is known of them, and a look at their rows."""

from __future__ import annotations

from fastapi_events.store.schema.steps import in_schema

_TABLES = (
    "event", "event_key", "scheduled_event", "delivery", "attempt", "success_batch", "processing_mark",
    "operator_action",
)  # fmt: skip
_HELD = "SELECT '[table]' WHERE EXISTS (SELECT FROM {schema}.[table])"
_REFUSAL = """DO $refusal$
DECLARE held text;
BEGIN
    LOCK TABLE [locked] IN ACCESS EXCLUSIVE MODE;
    SELECT string_agg(name, ', ') INTO held FROM ([held]) AS kept (name);
    IF held IS NOT NULL THEN
        RAISE EXCEPTION USING MESSAGE = 'This step drops the event log of the schema {schema}, and these tables of it '
            'hold rows, ' || held || '. It refuses to, unless that was asked for.',
            HINT = 'Make the script again with alembic -x fastapi_events_drop=yes to lose them.';
    END IF;
END
$refusal$"""


def held_tables(schema: str) -> str:
    """A question whose rows are the names of the tables that hold something, for a database of any size at once."""
    return " UNION ALL ".join(in_schema(_HELD, schema).replace("[table]", table) for table in _TABLES)


def refusal(schema: str) -> str:
    """A statement that fails while one of the tables holds something, and else lets nobody write until the commit."""
    locked = ", ".join(in_schema("{schema}.", schema) + table for table in _TABLES)
    return in_schema(_REFUSAL, schema).replace("[locked]", locked).replace("[held]", held_tables(schema))
