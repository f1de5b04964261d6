-- How far a run is. $1 run, $2 done, $3 in all.
INSERT INTO {schema}.run_progress AS p (run_id, done, total) VALUES ($1, $2, $3)
ON CONFLICT (run_id) DO UPDATE SET done = excluded.done, total = excluded.total, changed_at = clock_timestamp()
