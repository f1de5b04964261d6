-- Runs of jobs, the newest first. $1 jobs, $2 below which number (null: from the newest), $3 how many.
SELECT found.id, found.number AS place
FROM unnest($1::integer[]) AS j(id)
CROSS JOIN LATERAL (
    SELECT r.id, r.number FROM {schema}.run r
    WHERE r.job_id = j.id AND r.number < coalesce($2::bigint, 9223372036854775807)
    ORDER BY r.job_id DESC, r.number DESC
    LIMIT $3) found
ORDER BY found.number DESC
LIMIT $3
