-- Records that one run has succeeded, in the transaction of its effects: if the worker has lost it, no row is returned, and the
-- transaction must not commit. $1 run, $2 token, $3 worker, $4 result, $5 attempts, $6 duration, $7 seconds for which the result
-- is kept. The session is the application's: nothing is assumed of its planner's settings.
WITH ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.run_id = $1::text::uuid AND q.token = $2::text::bigint AND q.worker_id = $3::text::uuid AND q.state::text = 'x'
    RETURNING q.run_id, q.job_id, q.redrives, q.parent_id, q.has_family, q.limit_key, q.dedupe_key),
-- Whoever ends is one child less to the run that spawned it, which goes on if it waits for that; and its own children are closed as
-- they were to be. A run may be both, and no statement changes a row twice, so this is one change. What is to be cancelled and is
-- not at work is ended by whoever finds it (end_canceled_runs), and so closes its children in turn.
concerned AS MATERIALIZED (
    SELECT r.run_id, sum(r.ended)::integer AS ended, bool_or(r.closes) AS closes
    FROM (SELECT e.parent_id AS run_id, 1 AS ended, false AS closes FROM ended e WHERE e.parent_id IS NOT NULL
          UNION ALL
          SELECT s.run_id, 0, true FROM ended e
          JOIN {schema}.run_queue s ON s.parent_id = e.run_id AND s.on_parent_close <> 'abandon'
             AND s.parent_id = ANY (ARRAY(SELECT f.run_id FROM ended f WHERE f.has_family))
          WHERE e.has_family) r
    GROUP BY r.run_id ORDER BY r.run_id),
relatives AS (
    UPDATE {schema}.run_queue k
    SET children = k.children - c.ended, news = k.news + 1,
        cancel_reason = CASE WHEN c.closes THEN coalesce(k.cancel_reason, 'the run that spawned it has ended')
                             ELSE k.cancel_reason END,
        state = CASE WHEN c.closes AND NOT (k.state = 'x' AND k.on_parent_close = 'cancel') THEN 'r'::"char"
                     WHEN k.state = 'w' AND (k.wakes OR k.children <= c.ended) THEN 'r'::"char" ELSE k.state END,
        due_at = CASE WHEN k.state = 'x' AND NOT (c.closes AND k.on_parent_close = 'terminate') THEN k.due_at
                      WHEN c.closes THEN NULL ELSE k.due_at END,
        worker_id = CASE WHEN c.closes AND k.on_parent_close = 'terminate' THEN NULL ELSE k.worker_id END
    FROM concerned c
    WHERE k.run_id = ANY (ARRAY(SELECT n.run_id FROM concerned n)) AND k.run_id = c.run_id),
-- Its key is free, and its place at the gate: whoever waits there has a turn.
freed AS (
    DELETE FROM {schema}.run_dedupe d USING ended e
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM ended k WHERE k.dedupe_key IS NOT NULL))
      AND d.job_id = e.job_id AND d.key = e.dedupe_key AND d.run_id = e.run_id),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT e.job_id, 'c' || e.limit_key FROM ended e WHERE e.limit_key IS NOT NULL),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, result, attempts, redrives, worker_id, duration, expires_at)
    SELECT e.run_id, e.job_id, 'completed', $4::text::jsonb, $5::text::integer, e.redrives, $3::text::uuid, $6::text::float8,
           clock_timestamp() + make_interval(secs => $7::text::float8)
    FROM ended e
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends}
SELECT run_id FROM ends
