-- The runs above another one, itself included, that are at work of a job and a limited key, the nearest first: those with whose end
-- all below it would be closed. $1 run, $2 job, $3 key.
WITH RECURSIVE line AS (
    SELECT r.id, r.parent_id, r.on_parent_close, 0 AS above FROM {schema}.run r WHERE r.id = $1
    UNION ALL
    SELECT r.id, r.parent_id, r.on_parent_close, l.above + 1
    FROM line l
    CROSS JOIN LATERAL (
        SELECT n.id, n.parent_id, n.on_parent_close FROM {schema}.run n WHERE n.id = l.parent_id LIMIT 1) r
    WHERE l.on_parent_close <> 'abandon' AND l.above < 100)
SELECT l.id
FROM line l
CROSS JOIN LATERAL (
    SELECT q.job_id, q.limit_key, q.holds FROM {schema}.run_queue q WHERE q.run_id = l.id LIMIT 1) held
WHERE held.job_id = $2 AND held.limit_key = $3 AND held.holds
ORDER BY l.above
