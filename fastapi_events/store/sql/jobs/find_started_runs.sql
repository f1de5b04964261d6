-- Which of these runs are there already, whatever has become of them. $1 a JSON array of objects: run_id.
SELECT r.id AS run_id
FROM jsonb_to_recordset($1::text::jsonb) AS g(run_id uuid)
CROSS JOIN LATERAL (SELECT o.id FROM {schema}.run o WHERE o.id = g.run_id LIMIT 1) r
