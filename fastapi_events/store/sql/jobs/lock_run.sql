-- Locks a run that has not ended. $1 run.
SELECT q.run_id FROM {schema}.run_queue q WHERE q.run_id = $1 FOR NO KEY UPDATE
