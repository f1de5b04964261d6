-- When the first run from a number on was started, and its number; no row if there is none. Numbers are drawn as runs are started, so
-- that one can be searched for by its time. $1 jobs, $2 number.
SELECT found.number, found.created_at
FROM unnest($1::integer[]) AS j(id)
CROSS JOIN LATERAL (
    SELECT r.number, r.created_at FROM {schema}.run r
    WHERE r.job_id = j.id AND r.number >= $2
    ORDER BY r.job_id, r.number
    LIMIT 1) found
ORDER BY found.number
LIMIT 1
