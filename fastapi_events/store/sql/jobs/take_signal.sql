-- Takes the oldest signal of a name, or records that the run waits for one. $1 run, $2 name and $3 number of the step, $4 the signal's
-- name, $5 seconds to wait at most (null: for ever). Runs behind lock_own_run.
WITH taken AS (
    DELETE FROM {schema}.run_signal s
    WHERE s.number = (SELECT o.number FROM {schema}.run_signal o WHERE o.run_id = $1 AND o.name = $4
                      ORDER BY o.run_id, o.name, o.number LIMIT 1)
    RETURNING s.payload)
INSERT INTO {schema}.run_step AS s (run_id, name, number, kind, state, source, result, due_at)
SELECT $1, $2, $3, 'signal', CASE WHEN t.payload IS NULL THEN 'waiting' ELSE 'done' END, $4, t.payload,
       clock_timestamp() + make_interval(secs => $5)
FROM (SELECT 1) one LEFT JOIN taken t ON true
ON CONFLICT (run_id, name) DO UPDATE
SET state = excluded.state, result = excluded.result,
    duration = CASE excluded.state WHEN 'done' THEN extract(epoch FROM clock_timestamp() - s.changed_at) ELSE 0 END,
    changed_at = CASE excluded.state WHEN 'done' THEN clock_timestamp() ELSE s.changed_at END
WHERE s.state = 'waiting'
RETURNING s.state, s.result::text AS result, extract(epoch FROM s.due_at - clock_timestamp())::float8 AS seconds_left
