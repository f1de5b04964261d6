-- Lets runs that have ended, however they did, begin again, with a fresh budget of attempts; else as redrive_runs. $1 ids. Returns those
-- that were let.
WITH anew AS (
    DELETE FROM {schema}.run_end e
    WHERE e.run_id = ANY ($1::uuid[])
    RETURNING e.run_id, e.attempts, e.redrives),
again AS MATERIALIZED (
    SELECT r.id, r.number, r.job_id, r.priority, r.parent_id, r.on_parent_close, a.attempts, a.redrives
    FROM anew a JOIN {schema}.run r ON r.id = a.run_id),
-- A run that spawned one of them, and has not ended, has a child again.
parents AS (
    UPDATE {schema}.run_queue p SET children = p.children + c.more
    FROM (SELECT a.parent_id, count(*)::integer AS more FROM again a
          WHERE a.parent_id IS NOT NULL GROUP BY a.parent_id ORDER BY a.parent_id) c
    WHERE p.run_id = c.parent_id)
INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, state, parent_id, on_parent_close, children, has_family,
                                attempts, attempts_before, redrives, resumed)
SELECT a.id, a.number, a.job_id, a.priority, 'r', a.parent_id, a.on_parent_close, own.unended, own.spawned, a.attempts,
       a.attempts, a.redrives + 1, true
FROM again a
CROSS JOIN LATERAL (
    SELECT count(q.run_id)::integer AS unended, count(k.id) > 0 AS spawned
    FROM {schema}.run k LEFT JOIN {schema}.run_queue q ON q.run_id = k.id
    WHERE k.parent_id = a.id) own
RETURNING run_id
