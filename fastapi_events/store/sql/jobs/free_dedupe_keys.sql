-- Gives back keys that were taken for runs which are not started. $1 a JSON array of objects: job_id, key, run_id.
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS g(job_id integer, key text, run_id uuid))
DELETE FROM {schema}.run_dedupe d
USING given g
WHERE d.key = ANY (ARRAY(SELECT k.key FROM given k)) AND d.job_id = g.job_id AND d.key = g.key AND d.run_id = g.run_id
RETURNING d.run_id
