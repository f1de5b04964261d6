-- Whether a group has jobs, and how many of their runs are dead: looked at up to a bound for each job, the last first. $1 group (null:
-- every group), $2 the bound, $3 tenants (null: all).
SELECT count(*) AS jobs, coalesce(sum(each.dead), 0)::bigint AS dead
FROM (SELECT j.id FROM {schema}.job j JOIN {schema}.consumer_group g ON g.id = j.group_id
      WHERE $1::text IS NULL OR g.name = $1
      ORDER BY j.id LIMIT 1000) known
CROSS JOIN LATERAL (
    SELECT count(*) AS dead FROM (
        SELECT e.run_id FROM {schema}.run_end e
        WHERE e.job_id = known.id AND e.state IN ('failed', 'timed_out') AND e.discarded_at IS NULL
        ORDER BY e.job_id DESC, e.finished_at DESC
        LIMIT $2) found
    WHERE $3::text[] IS NULL
       OR (SELECT r.tenant_id FROM {schema}.run r WHERE r.id = found.run_id LIMIT 1) = ANY ($3)) each
