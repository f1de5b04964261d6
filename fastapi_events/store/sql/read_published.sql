-- What has been published and not dropped yet, in the order of publishing, then what waits for its time: for tests,
-- whose logs are short. $1 the name of the events (null: all), $2 above this position.
SELECT e.position, NULL::timestamptz AS due_at, e.id, e.name, e.version, e.key, e.tenant_id, e.correlation_id,
       e.causation_id, e.headers::text AS headers, e.payload::text AS payload, e.other_versions::text AS other_versions,
       0::bigint AS number
FROM {schema}.event e
WHERE e.position > $2 AND ($1::text IS NULL OR e.name = $1)
UNION ALL
SELECT NULL, s.due_at, s.id, s.name, s.version, s.key, s.tenant_id, s.correlation_id, s.causation_id,
       s.headers::text, s.payload::text, s.other_versions::text, s.number
FROM {schema}.scheduled_event s
WHERE $1::text IS NULL OR s.name = $1
ORDER BY position NULLS LAST, number
