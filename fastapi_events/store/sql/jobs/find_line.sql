-- Which runs are above others that are to be spawned. $1 a JSON array of objects: run_id, that may be above, and parent_id, of one that
-- is to be spawned.
WITH RECURSIVE given AS MATERIALIZED (
    SELECT g.run_id, g.parent_id FROM jsonb_to_recordset($1::text::jsonb) AS g(run_id uuid, parent_id uuid)),
line AS (
    SELECT p.parent_id AS id, 0 AS above FROM (SELECT DISTINCT parent_id FROM given) p
    UNION ALL
    SELECT r.parent_id, l.above + 1
    FROM line l
    CROSS JOIN LATERAL (SELECT n.parent_id FROM {schema}.run n WHERE n.id = l.id LIMIT 1) r
    WHERE r.parent_id IS NOT NULL AND l.above < 100)
SELECT DISTINCT l.id AS run_id FROM line l WHERE l.id IN (SELECT g.run_id FROM given g)
