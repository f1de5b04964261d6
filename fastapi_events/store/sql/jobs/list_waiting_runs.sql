-- Runs of jobs that have not ended, the newest first. $1 jobs, $2 below which number (null: from the newest), $3 how many, $4 the
-- states in which the queue has them.
SELECT found.run_id AS id, found.number AS place
FROM unnest($1::integer[]) AS j(id)
CROSS JOIN unnest($4::text[]) AS s(state)
CROSS JOIN LATERAL (
    SELECT q.run_id, q.number FROM {schema}.run_queue q
    WHERE q.job_id = j.id AND q.state = s.state::"char" AND q.number < coalesce($2::bigint, 9223372036854775807)
    ORDER BY q.job_id DESC, q.state DESC, q.number DESC
    LIMIT $3) found
ORDER BY found.number DESC
LIMIT $3
