-- Cancels runs whose place others take, in the caller's transaction. $1 a JSON array of objects: run_id, reason. What has never been
-- worked on, and has no relatives, ends at once. Nothing that a worker may have to write is locked: a run that is at work, or is
-- just being taken, or may wait for something that a worker brings to it (a child, an event, its time), is told by a row of another
-- table, and ended by whoever has it, or finds it after the commit (end_canceled_runs). Returns those that have ended.
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS g(run_id uuid, reason text)),
idle AS MATERIALIZED (
    SELECT q.run_id, q.job_id, q.attempts, q.redrives, q.limit_key, q.holds, q.dedupe_key, g.reason
    FROM given g JOIN {schema}.run_queue q ON q.run_id = g.run_id
    WHERE q.run_id = ANY (ARRAY(SELECT k.run_id FROM given k)) AND q.state <> 'x' AND q.state <> 'w' AND NOT q.resumed
      AND q.parent_id IS NULL AND NOT q.has_family
    FOR UPDATE OF q SKIP LOCKED),
gone AS (
    DELETE FROM {schema}.run_queue q WHERE q.run_id = ANY (ARRAY(SELECT i.run_id FROM idle i))),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, note, attempts, redrives)
    SELECT i.run_id, i.job_id, 'canceled', i.reason, i.attempts, i.redrives FROM idle i
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends},
freed AS (
    DELETE FROM {schema}.run_dedupe d USING idle i
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM idle k WHERE k.dedupe_key IS NOT NULL))
      AND d.job_id = i.job_id AND d.key = i.dedupe_key AND d.run_id = i.run_id),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT DISTINCT i.job_id, 'c' || i.limit_key FROM idle i WHERE i.holds AND i.limit_key IS NOT NULL),
told AS (
    INSERT INTO {schema}.run_replaced (run_id, reason)
    SELECT g.run_id, g.reason FROM given g WHERE NOT EXISTS (SELECT FROM idle i WHERE i.run_id = g.run_id) ORDER BY g.run_id
    ON CONFLICT DO NOTHING)
SELECT i.run_id FROM idle i
