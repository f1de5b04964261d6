-- Says that a run is the only one of those in doubt that is at work in its process, before it begins. $1 run, $2 token, $3 worker.
-- Returns a row if it is still this worker's.
UPDATE {schema}.run_queue q
SET alone_since = clock_timestamp()
WHERE q.run_id = $1 AND q.token = $2 AND q.worker_id = $3 AND q.state::text = 'x'
RETURNING q.run_id
