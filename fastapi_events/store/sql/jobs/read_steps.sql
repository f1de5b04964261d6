-- What a run has done so far. $1 run.
SELECT s.name, s.number, s.kind, s.state, s.source, s.result::text AS result, s.attempts,
       extract(epoch FROM s.due_at - clock_timestamp())::float8 AS seconds_left
FROM {schema}.run_step s WHERE s.run_id = $1 ORDER BY s.number
