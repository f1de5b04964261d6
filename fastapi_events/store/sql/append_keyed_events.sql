-- Appends events whose ids were given, unless an event of that id is there already. $1: a JSON array of rows.
-- Returns the ids that were appended; the others are duplicates.
WITH given AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset($1::text::jsonb) AS r(
        lane smallint, partition smallint, name text, version smallint, depth smallint, id uuid, correlation_id uuid,
        causation_id uuid, occurred_at timestamptz, aggregate text, aggregate_id text, key text, tenant_id text,
        actor text, headers jsonb, other_versions jsonb, payload jsonb)),
-- The transaction gets its id before a position is drawn: sealing a segment of the log relies on that order.
own AS MATERIALIZED (SELECT pg_current_xact_id() AS xid),
keys AS (
    INSERT INTO {schema}.event_key (event_id, position)
    SELECT given.id, nextval('{schema}.event_position')
    FROM own CROSS JOIN given
    WHERE own.xid IS NOT NULL
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id, position)
INSERT INTO {schema}.event (position, lane, partition, name, version, depth, id, correlation_id, causation_id,
                            occurred_at, aggregate, aggregate_id, key, tenant_id, actor, headers,
                            other_versions, payload)
SELECT keys.position, lane, partition, name, version, depth, id, correlation_id, causation_id,
       occurred_at, aggregate, aggregate_id, key, tenant_id, actor, headers, other_versions,
       payload
FROM keys JOIN given ON given.id = keys.event_id
RETURNING id
