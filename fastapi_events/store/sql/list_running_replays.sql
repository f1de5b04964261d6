-- The replays that go on of these handlers, oldest first. $1 handlers. wait: seconds until a share may be taken.
SELECT r.id, r.handler_id, r.rate, r.created_at,
       greatest(extract(epoch FROM r.paced_until - clock_timestamp()), 0)::float8 AS wait
FROM {schema}.replay r
WHERE r.handler_id = ANY ($1::integer[]) AND r.state IN ('running', 'paused') AND r.state = 'running'
ORDER BY r.created_at, r.id
