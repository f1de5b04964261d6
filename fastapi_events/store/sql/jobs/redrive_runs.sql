-- Lets runs that have not succeeded begin anew, with a fresh budget of attempts; steps that are done stay done. $1 ids. Returns those
-- that were let, and those whose key another run has taken since (rival), which are left as they are.
WITH given AS MATERIALIZED (
    SELECT e.run_id, e.attempts, e.redrives, r.number, r.job_id, r.priority, r.parent_id, r.on_parent_close, l.limit_key, l.rate_key,
           coalesce(l.exclusive, false) AS exclusive, l.dedupe_key, coalesce(l.until_started, false) AS until_started,
           coalesce('c' || l.limit_key, 'r' || l.rate_key) AS gate
    FROM {schema}.run_end e
    JOIN {schema}.run r ON r.id = e.run_id
    LEFT JOIN LATERAL jsonb_to_record(r.limits)
        AS l(limit_key text, rate_key text, exclusive boolean, dedupe_key text, until_started boolean) ON r.limits IS NOT NULL
    WHERE e.run_id = ANY ($1::uuid[]) AND r.id = ANY ($1::uuid[]) AND e.state <> 'completed'
    ORDER BY e.run_id
    FOR UPDATE OF e),
taken AS (
    INSERT INTO {schema}.run_dedupe (job_id, key, run_id, until_started)
    SELECT g.job_id, g.dedupe_key, g.run_id, g.until_started FROM given g
    WHERE g.dedupe_key IS NOT NULL
    ORDER BY g.job_id, g.dedupe_key
    ON CONFLICT DO NOTHING
    RETURNING run_id),
free AS MATERIALIZED (
    SELECT g.* FROM given g WHERE g.dedupe_key IS NULL OR g.run_id IN (SELECT t.run_id FROM taken t)),
anew AS (
    DELETE FROM {schema}.run_end e WHERE e.run_id = ANY (ARRAY(SELECT f.run_id FROM free f))),
-- A run that spawned one of them, and has not ended, has a child again.
parents AS (
    UPDATE {schema}.run_queue p SET children = p.children + c.more
    FROM (SELECT f.parent_id, count(*)::integer AS more FROM free f
          WHERE f.parent_id IS NOT NULL GROUP BY f.parent_id ORDER BY f.parent_id) c
    WHERE p.run_id = c.parent_id),
queued AS (
    INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, state, parent_id, on_parent_close, children, has_family, attempts, attempts_before, redrives, resumed,
                                    limit_key, rate_key, gate, exclusive, dedupe_key)
    SELECT f.run_id, f.number, f.job_id, f.priority, CASE WHEN f.gate IS NULL THEN 'r' ELSE 'g' END::"char", f.parent_id,
           f.on_parent_close, own.unended, own.spawned, f.attempts, f.attempts, f.redrives + 1, true, f.limit_key, f.rate_key, f.gate, f.exclusive, f.dedupe_key
    FROM free f
    CROSS JOIN LATERAL (
        SELECT count(q.run_id)::integer AS unended, count(k.id) > 0 AS spawned
        FROM {schema}.run k LEFT JOIN {schema}.run_queue q ON q.run_id = k.id
        WHERE k.parent_id = f.run_id) own),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate) SELECT DISTINCT f.job_id, f.gate FROM free f WHERE f.gate IS NOT NULL)
SELECT g.run_id, g.run_id NOT IN (SELECT f.run_id FROM free f) AS kept,
       (SELECT d.run_id FROM {schema}.run_dedupe d WHERE d.job_id = g.job_id AND d.key = g.dedupe_key) AS rival
FROM given g
