-- Records that one run has succeeded, in the transaction of its effects: if the worker has lost it, no row is returned, and
-- the transaction must not commit. $1 run, $2 token, $3 worker, $4 result, $5 attempts, $6 duration, $7 seconds for which the
-- result is kept. Runs behind lock_families, if the run has relatives. The session is the application's: nothing is assumed of
-- its planner's settings.
WITH ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.run_id = $1::text::uuid AND q.token = $2::text::bigint AND q.worker_id = $3::text::uuid AND q.state::text = 'x'
    RETURNING q.run_id, q.job_id, q.redrives, q.parent_id, q.has_family, q.limit_key, q.dedupe_key,
              false AS failed),
changed AS (SELECT e.run_id FROM ended e),
{close_families},
-- Its key is free, and its place at the gate: whoever waits there has a turn.
freed AS (
    DELETE FROM {schema}.run_dedupe d USING ended e
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM ended k WHERE k.dedupe_key IS NOT NULL))
      AND d.job_id = e.job_id AND d.key = e.dedupe_key AND d.run_id = e.run_id),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT e.job_id, 'c' || e.limit_key FROM ended e WHERE e.limit_key IS NOT NULL),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, result, attempts, redrives, worker_id, duration, expires_at)
    SELECT e.run_id, e.job_id, 'completed', $4::text::jsonb, $5::text::integer, e.redrives, $3::text::uuid, $6::text::float8,
           clock_timestamp() + make_interval(secs => $7::text::float8)
    FROM ended e
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends}
SELECT run_id FROM ends
