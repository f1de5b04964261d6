-- Which runs have keys. $1 a JSON array of objects: job_id, key.
SELECT d.job_id, d.key, d.run_id
FROM jsonb_to_recordset($1::text::jsonb) AS g(job_id integer, key text)
CROSS JOIN LATERAL (
    SELECT o.job_id, o.key, o.run_id FROM {schema}.run_dedupe o WHERE o.job_id = g.job_id AND o.key = g.key LIMIT 1) d
