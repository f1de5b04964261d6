-- The same as erase_events, for deliveries whose copy is all that is left of their event: the log has dropped it.
-- Arguments and answer are those of erase_events; found are copies.
WITH page AS MATERIALIZED (
    SELECT d.id, d.handler_id, d.position, d.replay_id, coalesce(d.tenant_id, '') AS tenant,
           d.event -> 'payload' <> $6::jsonb OR coalesce(d.error_message <> $7, false)
               OR coalesce(d.note <> $7, false) AS speaks
    FROM {schema}.delivery d
    WHERE d.event ->> 'aggregate' = $1 AND d.event ->> 'aggregate_id' = $2 AND d.position > $4
      AND ($3::text[] IS NULL OR coalesce(d.tenant_id, '') = ANY ($3))
      AND NOT EXISTS (
          SELECT FROM {schema}.event e
          WHERE e.lane = d.lane AND e.partition = d.partition AND e.position = d.position)
    ORDER BY d.position
    -- All copies of the last event: the next page begins above it.
    FETCH FIRST $5 ROWS WITH TIES),
locked AS MATERIALIZED (
    SELECT d.handler_id, d.position, d.replay_id, p.speaks
    FROM page p
    JOIN {schema}.delivery d ON d.handler_id = p.handler_id AND d.position = p.position AND d.replay_id = p.replay_id
    ORDER BY d.handler_id, d.position, d.replay_id
    FOR NO KEY UPDATE OF d),
deliveries AS (
    UPDATE {schema}.delivery d
    SET event = d.event || jsonb_build_object('payload', $6::jsonb, 'headers', NULL, 'other_versions', (
            SELECT jsonb_object_agg(v.version, $6::jsonb)
            FROM jsonb_object_keys(CASE WHEN jsonb_typeof(d.event -> 'other_versions') = 'object' THEN d.event -> 'other_versions' END) AS v(version))),
        error_message = CASE WHEN d.error_message IS NOT NULL THEN $7 END,
        note = CASE WHEN d.note IS NOT NULL THEN $7 END
    FROM locked l
    WHERE l.speaks AND d.handler_id = l.handler_id AND d.position = l.position AND d.replay_id = l.replay_id
    RETURNING d.id),
attempts AS (
    UPDATE {schema}.attempt a
    SET error_message = CASE WHEN a.error_message IS NOT NULL THEN $7 END, traceback = NULL
    WHERE a.delivery_id = ANY (ARRAY(SELECT id FROM page))
      AND (coalesce(a.error_message <> $7, false) OR a.traceback IS NOT NULL)
    RETURNING a.number)
SELECT count(*) AS found, max(p.position) AS reached, coalesce(array_agg(DISTINCT p.tenant), '{}') AS tenants,
       0::bigint AS events, (SELECT count(*) FROM deliveries) AS deliveries, (SELECT count(*) FROM attempts) AS attempts
FROM page p
