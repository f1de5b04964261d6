-- The runs of keys that have not ended, the oldest first, as many as count; without those whose place another one has taken,
-- or that are to be cancelled. $1 a JSON array of objects: job_id, key, slots. To be asked under the lock of the keys.
SELECT g.job_id, g.key, r.run_id
FROM jsonb_to_recordset($1::text::jsonb) AS g(job_id integer, key text, slots integer)
CROSS JOIN LATERAL (
    SELECT q.run_id, q.number FROM {schema}.run_queue q
    WHERE q.job_id = g.job_id AND q.limit_key = g.key AND q.exclusive AND q.cancel_reason IS NULL
      AND (SELECT count(*) FROM (SELECT FROM {schema}.run_replaced p WHERE p.run_id = q.run_id LIMIT 1) told) = 0
    ORDER BY q.job_id, q.limit_key, q.number
    LIMIT g.slots) r
ORDER BY r.number
