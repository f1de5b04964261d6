-- What erase_events would find and change, without changing it: its arguments, and its answer.
WITH page AS MATERIALIZED (
    SELECT e.position, coalesce(e.tenant_id, '') AS tenant, e.payload <> $6::jsonb OR e.headers IS NOT NULL AS speaks
    FROM {schema}.event e
    WHERE e.aggregate = $1 AND e.aggregate_id = $2 AND e.position > $4
      AND ($3::text[] IS NULL OR coalesce(e.tenant_id, '') = ANY ($3))
    ORDER BY e.aggregate, e.aggregate_id, e.position
    LIMIT $5),
touched AS MATERIALIZED (
    SELECT d.id,
           coalesce(d.event -> 'payload' <> $6::jsonb, false) OR coalesce(d.error_message <> $7, false)
               OR coalesce(d.note <> $7, false) AS speaks
    FROM {schema}.delivery d
    WHERE d.position = ANY (ARRAY(SELECT position FROM page)))
SELECT count(*) AS found, max(p.position) AS reached, coalesce(array_agg(DISTINCT p.tenant), '{}') AS tenants,
       count(*) FILTER (WHERE p.speaks) AS events, (SELECT count(*) FROM touched WHERE speaks) AS deliveries,
       (SELECT count(*) FROM {schema}.attempt a
        WHERE a.delivery_id = ANY (ARRAY(SELECT id FROM touched))
          AND (coalesce(a.error_message <> $7, false) OR a.traceback IS NOT NULL)) AS attempts
FROM page p
