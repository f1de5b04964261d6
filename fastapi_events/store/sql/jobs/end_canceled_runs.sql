-- Ends runs that are to be cancelled and that nobody runs, whoever has their jobs. $1 how many at most. Returns those that ended; their
-- children, if any, are the next ones.
WITH ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.ctid = ANY (ARRAY(
        SELECT c.place FROM (
            SELECT p.ctid AS place FROM {schema}.run_queue p
            WHERE p.cancel_reason IS NOT NULL AND p.state <> 'x'
            ORDER BY p.run_id
            LIMIT $1
            FOR UPDATE SKIP LOCKED) c
        UNION ALL
        SELECT r.place FROM (
            SELECT k.place
            FROM (SELECT t.run_id FROM {schema}.run_replaced t ORDER BY t.run_id) p
            CROSS JOIN LATERAL (
                SELECT o.ctid AS place FROM {schema}.run_queue o
                WHERE o.run_id = p.run_id AND o.state::text <> 'x' AND o.cancel_reason IS NULL
                LIMIT 1
                FOR UPDATE SKIP LOCKED) k
            LIMIT $1) r))
    RETURNING q.run_id, q.job_id, q.parent_id, q.has_family, q.attempts, q.redrives, q.limit_key, q.dedupe_key,
              coalesce(q.cancel_reason, (SELECT p.reason FROM {schema}.run_replaced p WHERE p.run_id = q.run_id)) AS cancel_reason),
-- What was said to runs that have ended since is forgotten, so that what is walked above is said to runs at work.
forgotten AS (
    DELETE FROM {schema}.run_replaced p
    WHERE p.run_id = ANY (ARRAY(
        SELECT o.run_id FROM {schema}.run_replaced o
        WHERE (SELECT count(*) FROM (SELECT FROM {schema}.run_queue q WHERE q.run_id = o.run_id LIMIT 1) there) = 0
        ORDER BY o.run_id LIMIT $1
        FOR UPDATE SKIP LOCKED))),
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
    SELECT DISTINCT e.job_id, 'c' || e.limit_key FROM ended e WHERE e.limit_key IS NOT NULL),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, note, attempts, redrives)
    SELECT e.run_id, e.job_id, 'canceled', e.cancel_reason, e.attempts, e.redrives FROM ended e
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends}
SELECT e.run_id FROM ended e
