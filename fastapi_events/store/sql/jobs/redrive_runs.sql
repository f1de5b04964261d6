-- Lets runs begin anew, with a fresh budget of attempts; steps that are done stay done. $1 ids, whose ends are locked (lock_ends), and
-- in whose way nobody is. What is limited waits at its gate, in its old place. Returns those that were let.
WITH anew AS (
    DELETE FROM {schema}.run_end e
    WHERE e.run_id = ANY ($1::uuid[])
    RETURNING e.run_id, e.attempts, e.redrives),
again AS MATERIALIZED (
    SELECT a.run_id, a.attempts, a.redrives, r.number, r.job_id, r.priority, r.parent_id, r.on_parent_close, l.limit_key, l.rate_key,
           coalesce(l.exclusive, false) AS exclusive, l.dedupe_key, coalesce('c' || l.limit_key, 'r' || l.rate_key) AS gate
    FROM anew a
    JOIN {schema}.run r ON r.id = a.run_id
    LEFT JOIN LATERAL jsonb_to_record(r.limits)
        AS l(limit_key text, rate_key text, exclusive boolean, dedupe_key text) ON r.limits IS NOT NULL
    WHERE r.id = ANY ($1::uuid[])),
-- That another one took its place was true of the time before.
told AS (DELETE FROM {schema}.run_replaced p WHERE p.run_id = ANY ($1::uuid[])),
-- Whoever had ended heard no events. One that waited for any hears, when it comes to its wait again, what becomes visible from now on,
-- whether somebody has cleared its wait away meanwhile or not: nobody must take the one of its next life for that.
unheard AS (DELETE FROM {schema}.run_wait w WHERE w.run_id = ANY ($1::uuid[])),
listening AS (
    UPDATE {schema}.run_step s SET since = pg_current_snapshot()
    WHERE s.run_id = ANY ($1::uuid[]) AND s.state = 'waiting' AND s.kind = 'event'),
-- A run that spawned one of them, and has not ended, has a child again.
parents AS (
    UPDATE {schema}.run_queue p SET children = p.children + c.more
    FROM (SELECT a.parent_id, count(*)::integer AS more FROM again a
          WHERE a.parent_id IS NOT NULL GROUP BY a.parent_id ORDER BY a.parent_id) c
    WHERE p.run_id = c.parent_id),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate) SELECT DISTINCT a.job_id, a.gate FROM again a WHERE a.gate IS NOT NULL)
INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, state, parent_id, on_parent_close, children, has_family, attempts,
                                attempts_before, redrives, resumed, limit_key, rate_key, gate, exclusive, dedupe_key)
SELECT a.run_id, a.number, a.job_id, a.priority, CASE WHEN a.gate IS NULL THEN 'r' ELSE 'g' END::"char", a.parent_id,
       a.on_parent_close, own.unended, own.spawned, a.attempts, a.attempts, a.redrives + 1, true, a.limit_key, a.rate_key, a.gate,
       a.exclusive, a.dedupe_key
FROM again a
CROSS JOIN LATERAL (
    SELECT count(q.run_id)::integer AS unended, count(k.id) > 0 AS spawned
    FROM {schema}.run k LEFT JOIN {schema}.run_queue q ON q.run_id = k.id
    WHERE k.parent_id = a.run_id) own
RETURNING run_id
