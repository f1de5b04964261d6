-- Schedules events: they wait here and are appended to the log when due. $1: a JSON array of rows, in publishing order.
-- Returns the ids that were scheduled; the others are duplicates. An id that was given takes its place among the given
-- ids at once, without a position: there is no moment at which a second publish of it would not be seen as one.
WITH given AS MATERIALIZED (
    SELECT *
    FROM ROWS FROM (jsonb_to_recordset($1::text::jsonb) AS (
        explicit boolean, serialize boolean, at timestamptz, delay float8,
        lane smallint, partition smallint, name text, version smallint, depth smallint, id uuid, correlation_id uuid,
        causation_id uuid, occurred_at timestamptz, aggregate text, aggregate_id text, key text, tenant_id text,
        actor text, headers jsonb, payload jsonb, other_versions jsonb)) WITH ORDINALITY),
-- One moment for all, so that equal delays keep the order of publishing.
now AS MATERIALIZED (SELECT clock_timestamp() AS moment),
-- A time that is over becomes now, so that whoever looks for what has just become due finds it.
timed AS MATERIALIZED (
    SELECT given.*, greatest(now.moment, coalesce(given.at, now.moment + make_interval(secs => given.delay))) AS due_at
    FROM now CROSS JOIN given),
-- For how long an id is remembered counts from its event's time, also if it is cancelled before.
keys AS (
    INSERT INTO {schema}.event_key (event_id, created_at)
    SELECT timed.id, timed.due_at FROM timed WHERE timed.explicit
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id)
INSERT INTO {schema}.scheduled_event (
    due_at, serialize, lane, partition, name, version, depth, id, correlation_id, causation_id, occurred_at,
    aggregate, aggregate_id, key, tenant_id, actor, headers, payload, other_versions)
SELECT due_at, serialize, lane, partition, name, version, depth, timed.id, correlation_id, causation_id, occurred_at,
       aggregate, aggregate_id, key, tenant_id, actor, headers, payload, other_versions
FROM timed LEFT JOIN keys ON keys.event_id = timed.id
WHERE keys.event_id IS NOT NULL OR NOT timed.explicit
ORDER BY timed.ordinality
ON CONFLICT (id) DO NOTHING
RETURNING id
