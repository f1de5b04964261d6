-- Runs that ended in some ways until a moment, the first first, so that what ends meanwhile is left out; without those that were given
-- up. $1 jobs, $2 states, $3 until, $4 how many, $5 tenants (null: all).
SELECT found.run_id AS id
FROM unnest($1::integer[]) AS j(id)
CROSS JOIN unnest($2::text[]) AS s(state)
CROSS JOIN LATERAL (
    SELECT e.run_id, e.finished_at FROM {schema}.run_end e
    WHERE e.job_id = j.id AND e.state = s.state AND e.finished_at <= $3 AND e.discarded_at IS NULL
      AND ($5::text[] IS NULL OR (SELECT r.tenant_id FROM {schema}.run r WHERE r.id = e.run_id) = ANY ($5))
    ORDER BY e.job_id, e.state, e.finished_at
    LIMIT $4) found
ORDER BY found.finished_at, found.run_id
LIMIT $4
