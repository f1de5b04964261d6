-- The number of the run that was started last. $1 jobs.
SELECT found.number
FROM unnest($1::integer[]) AS j(id)
CROSS JOIN LATERAL (
    SELECT r.number FROM {schema}.run r WHERE r.job_id = j.id ORDER BY r.job_id DESC, r.number DESC LIMIT 1) found
ORDER BY found.number DESC
LIMIT 1
