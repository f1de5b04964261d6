-- What is being run of some jobs, the first started first. $1 jobs, $2 how many of each at most.
SELECT q.run_id AS id, q.job_id, q.attempts + 1 AS attempt, q.worker_id, q.due_at AS lease_until, r.created_at,
       q.cancel_reason
FROM unnest($1::integer[]) AS j(id)
CROSS JOIN LATERAL (
    SELECT q.* FROM {schema}.run_queue q WHERE q.job_id = j.id AND q.state = 'x'
    ORDER BY q.job_id, q.state, q.number
    LIMIT $2) q
CROSS JOIN LATERAL (SELECT r.created_at FROM {schema}.run r WHERE r.id = q.run_id LIMIT 1) r
ORDER BY q.number
