-- How far a run is, if it is still this worker's: whoever has lost it would say so over the one that has it, or of a run that is there no
-- more. Nothing is locked: it is for people's eyes, and comes often. $1 run, $2 token, $3 worker, $4 done, $5 in all. Returns a row
-- if it was noted.
INSERT INTO {schema}.run_progress AS p (run_id, done, total)
SELECT q.run_id, $4::float8, $5::float8 FROM {schema}.run_queue q
WHERE q.run_id = $1 AND q.token = $2 AND q.worker_id = $3 AND q.state::text = 'x'
ON CONFLICT (run_id) DO UPDATE SET done = excluded.done, total = excluded.total, changed_at = clock_timestamp()
RETURNING p.run_id
