-- Appends scheduled events that are due to the log, in the order of their times, then in that of scheduling; they leave
-- the schedule in the same statement. One process does so at a time, or two batches could become visible in the wrong
-- order; a row that is just being cancelled is passed over. $1 limit, $2 how far back to look in seconds (null: all).
WITH due AS (
    DELETE FROM {schema}.scheduled_event
    WHERE ctid = ANY (ARRAY(
        SELECT s.ctid
        FROM {schema}.scheduled_event s
        -- As subqueries, for which an index can be asked: the functions change while the statement runs.
        WHERE (SELECT pg_try_advisory_xact_lock(1702257011, '{schema}.scheduled_event'::regclass::oid::integer))
          AND s.due_at <= (SELECT clock_timestamp())
          AND s.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $2), '-infinity'))
          -- Of a class with serialize=True: not while a writer of its key is under way (see lock_keys).
          AND (NOT s.serialize OR pg_try_advisory_xact_lock(hashtextextended('fastapi_events:' || s.key, 0)))
        ORDER BY s.due_at, s.number
        LIMIT $1
        FOR UPDATE SKIP LOCKED))
    RETURNING *),
-- The rows come out of a DELETE, so the transaction has its id before a position is drawn: sealing a segment of the log
-- relies on that order.
placed AS MATERIALIZED (
    SELECT ordered.*, nextval('{schema}.event_position') AS position
    FROM (SELECT * FROM due ORDER BY due_at, number) ordered),
-- Given ids get their positions, found one by one: of a table that looks empty a plan would read all.
keys AS (
    UPDATE {schema}.event_key k SET position = found.position, created_at = clock_timestamp()
    FROM (SELECT placed.position, own.ctid
          FROM placed
          CROSS JOIN LATERAL (
              SELECT g.ctid FROM {schema}.event_key g
              WHERE g.event_id = placed.id ORDER BY g.event_id LIMIT 1) own) found
    WHERE k.ctid = found.ctid)
INSERT INTO {schema}.event (position, lane, partition, name, version, depth, id, correlation_id, causation_id,
                            occurred_at, aggregate, aggregate_id, key, tenant_id, actor, headers, payload,
                            other_versions)
SELECT position, lane, partition, name, version, depth, id, correlation_id, causation_id,
       occurred_at, aggregate, aggregate_id, key, tenant_id, actor, headers, payload, other_versions
FROM placed
RETURNING lane, partition
