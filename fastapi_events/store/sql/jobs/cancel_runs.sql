-- Cancels runs: those that nobody runs end at once, the others are told to. $1 ids, $2 the reason. Runs behind lock_families.
-- Returns each that had not ended, and whether it has now.
WITH chosen AS MATERIALIZED (
    SELECT q.run_id, q.job_id, q.parent_id, q.has_family, q.attempts, q.redrives, q.limit_key, q.holds, q.dedupe_key,
           q.state <> 'x' AS ends
    FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($1::uuid[])
    ORDER BY q.run_id
    FOR UPDATE),
told AS (
    UPDATE {schema}.run_queue q SET cancel_reason = $2
    WHERE q.run_id = ANY (ARRAY(SELECT c.run_id FROM chosen c WHERE NOT c.ends))),
gone AS (
    DELETE FROM {schema}.run_queue q WHERE q.run_id = ANY (ARRAY(SELECT c.run_id FROM chosen c WHERE c.ends))),
ended AS (SELECT c.*, true AS failed FROM chosen c WHERE c.ends),
changed AS (SELECT c.run_id FROM chosen c),
{close_families},
-- Its key is free, and so is its place at the gate, if it had passed.
freed AS (
    DELETE FROM {schema}.run_dedupe d USING ended e
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM ended k WHERE k.dedupe_key IS NOT NULL))
      AND d.job_id = e.job_id AND d.key = e.dedupe_key AND d.run_id = e.run_id),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT DISTINCT e.job_id, 'c' || e.limit_key FROM ended e WHERE e.holds AND e.limit_key IS NOT NULL),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, note, attempts, redrives)
    SELECT e.run_id, e.job_id, 'canceled', $2, e.attempts, e.redrives FROM ended e
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends}
SELECT c.run_id, c.ends AS ended FROM chosen c
