-- The steps of a run in their order, those that wait for an event with its key. $1 run, $2 how many at most.
SELECT s.name, s.number, s.kind, s.state, s.source, s.result::text AS result, s.secret, s.attempts, s.error_type,
       s.error_message, s.duration, s.due_at, s.changed_at, w.key
FROM {schema}.run_step s
LEFT JOIN LATERAL (
    SELECT w.key FROM {schema}.run_wait w WHERE w.run_id = s.run_id AND w.name = s.name LIMIT 1) w ON s.state = 'waiting'
WHERE s.run_id = $1
ORDER BY s.number, s.name
LIMIT $2
