-- Gives runs up that have failed: they stay as they are, and are dead no more. $1 ids, $2 the reason, which is kept with each. Locked in
-- one order, that of the ids, and looked up by them alone: by what else is asked, the planner might read every dead run. Returns
-- those that were dead.
WITH chosen AS MATERIALIZED (
    SELECT e.run_id, e.state, e.discarded_at FROM {schema}.run_end e
    WHERE e.run_id = ANY ($1::uuid[])
    ORDER BY e.run_id
    FOR NO KEY UPDATE)
UPDATE {schema}.run_end e SET discarded_at = clock_timestamp(), note = $2
WHERE e.run_id = ANY (ARRAY(
    SELECT c.run_id FROM chosen c WHERE c.state IN ('failed', 'timed_out') AND c.discarded_at IS NULL))
RETURNING e.run_id
