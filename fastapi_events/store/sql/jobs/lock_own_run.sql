-- Locks a run that is still this worker's, and has what follows in the transaction committed durably. $1 run, $2 token, $3 worker.
-- Whoever sends a signal locks the row too: what is read next shows either all of that or nothing.
SELECT q.news
FROM {schema}.run_queue q CROSS JOIN (SELECT set_config('synchronous_commit', 'on', true) OFFSET 0) durably
WHERE q.run_id = $1 AND q.token = $2 AND q.worker_id = $3 AND q.state::text = 'x'
FOR NO KEY UPDATE OF q
