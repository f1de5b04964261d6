-- How many lines of a run are left out. $1 run.
SELECT c.lines FROM {schema}.run_log_cut c WHERE c.run_id = $1
