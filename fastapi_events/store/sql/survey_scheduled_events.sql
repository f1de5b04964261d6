-- What erase_scheduled_events would find and change, without changing it: its arguments, and its answer.
WITH page AS MATERIALIZED (
    SELECT s.number, coalesce(s.tenant_id, '') AS tenant, s.payload <> $6::jsonb OR s.headers IS NOT NULL AS speaks
    FROM {schema}.scheduled_event s
    WHERE s.aggregate = $1 AND s.aggregate_id = $2 AND s.number > $4
      AND ($3::text[] IS NULL OR coalesce(s.tenant_id, '') = ANY ($3))
    ORDER BY s.aggregate, s.aggregate_id, s.number
    LIMIT $5)
SELECT count(*) AS found, max(p.number) AS reached, coalesce(array_agg(DISTINCT p.tenant), '{}') AS tenants,
       count(*) FILTER (WHERE p.speaks) AS events, 0::bigint AS deliveries, 0::bigint AS attempts
FROM page p
