-- Says of the last tick of a schedule that no run was started, and why. $1 the schedule, whose row the caller has locked, $2 the run
-- that is there in its stead, $3 why.
UPDATE {schema}.schedule SET last_run_id = $2, last_note = $3 WHERE id = $1
