-- Takes the content away from the next events of an aggregate that wait for their time: they are appended without it.
-- It is done before the log, so that one that is appended meanwhile is found there. Arguments and answer are those of
-- erase_events, with numbers of the schedule in place of positions and without $7.
WITH page AS MATERIALIZED (
    SELECT s.id, s.number, coalesce(s.tenant_id, '') AS tenant,
           s.payload <> $6::jsonb OR s.headers IS NOT NULL AS speaks
    FROM {schema}.scheduled_event s
    WHERE s.aggregate = $1 AND s.aggregate_id = $2 AND s.number > $4
      AND ($3::text[] IS NULL OR coalesce(s.tenant_id, '') = ANY ($3))
    ORDER BY s.aggregate, s.aggregate_id, s.number
    LIMIT $5
    FOR NO KEY UPDATE),
events AS (
    UPDATE {schema}.scheduled_event s
    SET payload = $6::jsonb, headers = NULL,
        other_versions = (
            SELECT jsonb_object_agg(v.version, $6::jsonb)
            FROM jsonb_object_keys(CASE WHEN jsonb_typeof(s.other_versions) = 'object' THEN s.other_versions END) AS v(version))
    FROM page p
    WHERE p.speaks AND s.id = p.id
    RETURNING s.number)
SELECT count(*) AS found, max(p.number) AS reached, coalesce(array_agg(DISTINCT p.tenant), '{}') AS tenants,
       (SELECT count(*) FROM events) AS events, 0::bigint AS deliveries, 0::bigint AS attempts
FROM page p
