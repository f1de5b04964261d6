-- Takes keys for runs that are to be started, in the caller's transaction. $1 a JSON array of objects: job_id, key, run_id, seconds (null: it
-- is freed with the run), until_started. Of equal keys the first one. Waits for whoever has taken one and not committed. Returns
-- the runs that have got theirs.
WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (g.job_id, g.key) g.*
    FROM ROWS FROM (jsonb_to_recordset($1::text::jsonb)
        AS (job_id integer, key text, run_id uuid, seconds float8, until_started boolean)) WITH ORDINALITY
        AS g(job_id, key, run_id, seconds, until_started, place)
    ORDER BY g.job_id, g.key, g.place),
-- Only here is a row locked that others have committed: one that nobody frees but who needs it.
over AS (
    DELETE FROM {schema}.run_dedupe d
    USING given g
    WHERE d.key = ANY (ARRAY(SELECT k.key FROM given k)) AND d.job_id = g.job_id AND d.key = g.key AND coalesce(d.expires_at, 'infinity') <= clock_timestamp()
    RETURNING d.key)
INSERT INTO {schema}.run_dedupe (job_id, key, run_id, until_started, expires_at)
SELECT g.job_id, g.key, g.run_id, g.until_started, clock_timestamp() + make_interval(secs => g.seconds)
FROM given g
WHERE (SELECT count(*) FROM over) >= 0
ORDER BY g.job_id, g.key
ON CONFLICT DO NOTHING
RETURNING run_id
