-- The steps of a run in their order. $1 run, $2 how many at most.
SELECT s.name, s.number, s.kind, s.state, s.source, s.result::text AS result, s.secret, s.attempts, s.error_type, s.error_message,
       s.duration, s.due_at, s.changed_at
FROM {schema}.run_step s WHERE s.run_id = $1
ORDER BY s.number, s.name
LIMIT $2
