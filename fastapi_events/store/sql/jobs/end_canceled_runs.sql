-- Ends runs that are to be cancelled and that nobody runs. $1 their ids: the caller has locked them, and then their relatives, so that
-- nothing here waits for anybody. Returns those that ended; their children, if any, are the next ones.
WITH ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($1::uuid[])
    RETURNING q.run_id, q.job_id, q.parent_id, q.has_family, q.attempts, q.redrives, q.limit_key, q.dedupe_key,
              coalesce(q.cancel_reason, (SELECT p.reason FROM {schema}.run_replaced p WHERE p.run_id = q.run_id)) AS cancel_reason,
              true AS failed),
changed AS (SELECT e.run_id FROM ended e),
{close_families},
-- Its key is free, and its place at the gate: whoever waits there has a turn.
freed AS (
    DELETE FROM {schema}.run_dedupe d USING ended e
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM ended k WHERE k.dedupe_key IS NOT NULL))
      AND d.job_id = e.job_id AND d.key = e.dedupe_key AND d.run_id = e.run_id),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT DISTINCT e.job_id, 'c' || e.limit_key FROM ended e WHERE e.limit_key IS NOT NULL),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, note, attempts, redrives)
    SELECT e.run_id, e.job_id, 'canceled', e.cancel_reason, e.attempts, e.redrives FROM ended e
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends}
SELECT e.run_id FROM ended e
