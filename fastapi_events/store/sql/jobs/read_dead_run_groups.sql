-- Dead runs by job and cause, the largest group first: of each job's last ones, so many at most. $1 jobs, $2 how many runs of each
-- job, $3 groups at most, $4 tenants (null: all).
SELECT found.job_id, found.fingerprint, count(*) AS dead, min(found.finished_at) AS first_at, max(found.finished_at) AS last_at,
       (array_agg(found.error_type ORDER BY found.finished_at DESC))[1] AS error_type,
       (array_agg(found.error_message ORDER BY found.finished_at DESC))[1] AS error_message,
       (array_agg(coalesce(found.reason, found.state) ORDER BY found.finished_at DESC))[1] AS reason
FROM unnest($1::integer[]) AS j(id)
CROSS JOIN LATERAL (
    SELECT e.run_id, e.job_id, e.state, e.fingerprint, e.finished_at, e.error_type, e.error_message, e.reason
    FROM {schema}.run_end e
    WHERE e.job_id = j.id AND e.state IN ('failed', 'timed_out') AND e.discarded_at IS NULL
    ORDER BY e.job_id DESC, e.finished_at DESC
    LIMIT $2) found
WHERE $4::text[] IS NULL OR (SELECT r.tenant_id FROM {schema}.run r WHERE r.id = found.run_id LIMIT 1) = ANY ($4)
GROUP BY found.job_id, found.fingerprint
ORDER BY dead DESC, last_at DESC
LIMIT $3
