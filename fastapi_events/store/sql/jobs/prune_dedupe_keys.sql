-- Removes keys whose window is over, and those of runs that are not there any more, whatever has become of them; and what was said
-- to runs that have ended. $1 job and $2 key behind which to begin, $3 how many to look at. Returns the last one, and how many there
-- were.
WITH looked AS MATERIALIZED (
    SELECT d.job_id, d.key FROM {schema}.run_dedupe d
    WHERE (d.key, d.job_id) > ($2::text, $1::integer)
    ORDER BY d.key, d.job_id LIMIT $3::integer),
gone AS (
    DELETE FROM {schema}.run_dedupe d
    WHERE d.ctid = ANY (ARRAY(
        SELECT o.ctid
        FROM looked k JOIN {schema}.run_dedupe o ON o.job_id = k.job_id AND o.key = k.key
        WHERE o.key = ANY (ARRAY(SELECT l.key FROM looked l)) AND o.expires_at IS NULL
          AND (SELECT count(*) FROM (
                  SELECT FROM {schema}.run_queue q WHERE q.run_id = o.run_id LIMIT 1) there) = 0
        FOR UPDATE OF o SKIP LOCKED))),
over AS (
    DELETE FROM {schema}.run_dedupe d
    WHERE d.ctid = ANY (ARRAY(
        SELECT o.ctid FROM {schema}.run_dedupe o
        WHERE o.expires_at IS NOT NULL AND o.expires_at <= (SELECT clock_timestamp())
        ORDER BY o.expires_at LIMIT $3::integer
        FOR UPDATE SKIP LOCKED))),
told AS (
    DELETE FROM {schema}.run_replaced p
    WHERE p.run_id = ANY (ARRAY(
        SELECT o.run_id FROM {schema}.run_replaced o
        WHERE (SELECT count(*) FROM (SELECT FROM {schema}.run_queue q WHERE q.run_id = o.run_id LIMIT 1) there) = 0
        ORDER BY o.run_id LIMIT $3::integer
        FOR UPDATE SKIP LOCKED)))
SELECT k.job_id, k.key AS gate, (SELECT count(*) FROM looked) AS number FROM looked k ORDER BY k.key DESC, k.job_id DESC LIMIT 1
