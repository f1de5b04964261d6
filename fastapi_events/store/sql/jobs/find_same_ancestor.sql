-- The nearest run above another one, itself included, that is of a job and has an input: to spawn it again would never end.
-- $1 run, $2 job, $3 input.
WITH RECURSIVE line AS (
    SELECT r.id, r.parent_id, r.job_id, r.input, 0 AS above FROM {schema}.run r WHERE r.id = $1
    UNION ALL
    SELECT r.id, r.parent_id, r.job_id, r.input, l.above + 1
    FROM line l
    CROSS JOIN LATERAL (SELECT n.id, n.parent_id, n.job_id, n.input FROM {schema}.run n WHERE n.id = l.parent_id LIMIT 1) r
    WHERE l.above < 100)
SELECT l.id FROM line l WHERE l.job_id = $2 AND l.input = $3::jsonb ORDER BY l.above LIMIT 1
