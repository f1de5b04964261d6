-- Records runs that succeeded at their first attempt, with nothing else to say of them; of those that this worker has lost,
-- nothing. Arrays are in the order of the runs' ids, so that statements cannot deadlock.
-- $1 worker, $2 ids and $3 tokens, $4 results, $5 durations, $6 seconds for which a result is kept. Returns the runs that were
-- still this worker's.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::float8[], $6::float8[])
        AS g(run_id, token, result, duration, keep)),
ended AS (
    DELETE FROM {schema}.run_queue q
    USING given g
    WHERE q.run_id = g.run_id AND q.token = g.token AND q.worker_id = $1 AND q.state = 'x'
    RETURNING q.run_id, q.token, q.job_id, q.redrives, g.result, g.duration, g.keep),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, result, attempts, redrives, worker_id, duration, expires_at)
    SELECT e.run_id, e.job_id, 'completed', e.result::jsonb, 1, e.redrives, $1, e.duration,
           clock_timestamp() + make_interval(secs => e.keep)
    FROM ended e)
SELECT run_id, token FROM ended
