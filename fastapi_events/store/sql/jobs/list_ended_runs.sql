-- Runs of jobs that ended in one way, the last first. $1 jobs, $2 before which moment (null: from the last), $3 how many, $4 how
-- they ended, $5 of those of that moment, below which run (null: none of them).
SELECT found.run_id AS id, found.finished_at AS place
FROM unnest($1::integer[]) AS j(id)
CROSS JOIN LATERAL (
    SELECT e.run_id, e.finished_at FROM {schema}.run_end e
    WHERE e.job_id = j.id AND e.state = $4
      AND e.finished_at <= coalesce($2::timestamptz, 'infinity')
      AND (e.finished_at, e.run_id) < (coalesce($2::timestamptz, 'infinity'),
                                       coalesce($5::uuid, '00000000-0000-0000-0000-000000000000'))
    ORDER BY e.job_id DESC, e.state DESC, e.finished_at DESC, e.run_id DESC
    LIMIT $3) found
ORDER BY found.finished_at DESC, found.run_id DESC
LIMIT $3
