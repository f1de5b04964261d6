-- Records that one run has succeeded, in the transaction of its effects: if the worker has lost it, no row is returned, and the
-- transaction must not commit. $1 run, $2 token, $3 worker, $4 result, $5 attempts, $6 duration, $7 seconds for which the result
-- is kept. The session is the application's: nothing is assumed of its planner's settings.
WITH ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.run_id = $1::text::uuid AND q.token = $2::text::bigint AND q.worker_id = $3::text::uuid AND q.state = 'x'
    RETURNING q.run_id, q.job_id, q.redrives)
INSERT INTO {schema}.run_end (run_id, job_id, state, result, attempts, redrives, worker_id, duration, expires_at)
SELECT e.run_id, e.job_id, 'completed', $4::text::jsonb, $5::text::integer, e.redrives, $3::text::uuid, $6::text::float8,
       clock_timestamp() + make_interval(secs => $7::text::float8)
FROM ended e
RETURNING run_id
