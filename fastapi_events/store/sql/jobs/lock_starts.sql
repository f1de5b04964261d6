-- Lets starts of keys be one at a time, until the end of the caller's transaction. $1 a JSON array of objects: job_id, key. In one
-- order, so that two calls cannot deadlock. The gate is one of its own: those that let runs through wait for no application.
INSERT INTO {schema}.run_limit AS l (job_id, gate)
SELECT DISTINCT g.job_id, 's' || g.key
FROM jsonb_to_recordset($1::text::jsonb) AS g(job_id integer, key text)
ORDER BY 1, 2
ON CONFLICT (gate, job_id) DO UPDATE SET version = l.version + 1
RETURNING l.job_id
