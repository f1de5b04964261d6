-- Lets runs that have not succeeded begin anew, with a fresh budget of attempts; steps that are done stay done. $1 ids. Returns those
-- that were let.
WITH anew AS (
    DELETE FROM {schema}.run_end e
    WHERE e.run_id = ANY ($1::uuid[]) AND e.state <> 'completed'
    RETURNING e.run_id, e.attempts, e.redrives)
INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, state, attempts, attempts_before, redrives, resumed)
SELECT r.id, r.number, r.job_id, r.priority, 'r', a.attempts, a.attempts, a.redrives + 1, true
FROM anew a JOIN {schema}.run r ON r.id = a.run_id
RETURNING run_id
