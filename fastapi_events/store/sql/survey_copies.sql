-- What erase_copies would find and change, without changing it: its arguments, and its answer.
WITH page AS MATERIALIZED (
    SELECT d.id, d.position, coalesce(d.tenant_id, '') AS tenant,
           d.event -> 'payload' <> $6::jsonb OR coalesce(d.error_message <> $7, false)
               OR coalesce(d.note <> $7, false) AS speaks
    FROM {schema}.delivery d
    WHERE d.event ->> 'aggregate' = $1 AND d.event ->> 'aggregate_id' = $2 AND d.position > $4
      AND ($3::text[] IS NULL OR coalesce(d.tenant_id, '') = ANY ($3))
      AND NOT EXISTS (
          SELECT FROM {schema}.event e
          WHERE e.lane = d.lane AND e.partition = d.partition AND e.position = d.position)
    ORDER BY d.position
    FETCH FIRST $5 ROWS WITH TIES)
SELECT count(*) AS found, max(p.position) AS reached, coalesce(array_agg(DISTINCT p.tenant), '{}') AS tenants,
       0::bigint AS events, count(*) FILTER (WHERE p.speaks) AS deliveries,
       (SELECT count(*) FROM {schema}.attempt a
        WHERE a.delivery_id = ANY (ARRAY(SELECT id FROM page))
          AND (coalesce(a.error_message <> $7, false) OR a.traceback IS NOT NULL)) AS attempts
FROM page p
