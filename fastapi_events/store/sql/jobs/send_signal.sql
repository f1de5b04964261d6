-- Sends a signal to a run; one that waits has a look. $1 run, $2 name, $3 payload. Runs behind lock_run.
WITH sent AS (INSERT INTO {schema}.run_signal (run_id, name, payload) VALUES ($1, $2, $3::jsonb))
UPDATE {schema}.run_queue q
SET news = q.news + 1, state = CASE WHEN q.state = 'w' THEN 'r'::"char" ELSE q.state END,
    due_at = CASE WHEN q.state = 'w' THEN NULL ELSE q.due_at END
WHERE q.run_id = $1
RETURNING q.run_id
