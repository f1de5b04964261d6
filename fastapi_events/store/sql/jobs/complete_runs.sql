-- Records runs that succeeded at their first attempt, with nothing else to say of them; of those that this worker has lost,
-- nothing. Arrays are in the order of the runs' ids, so that statements cannot deadlock, and by them an index finds the runs. Sets
-- are looked up by IN ... IS TRUE, which hashes them: a join would compare each with each. The state is compared as text, so that
-- no index is begun with it.
-- $1 worker, $2 ids and $3 tokens, $4 results, $5 durations, $6 seconds for which a result is kept, $7 jobs, $8 redrives as they
-- were when the runs were claimed. Returns the runs that were still this worker's.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::float8[], $6::float8[], $7::integer[], $8::integer[])
        AS g(run_id, token, result, duration, keep, job_id, redrives)),
ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($2) AND q.worker_id = $1 AND q.state::text = 'x'
      AND ((q.run_id, q.token) IN (SELECT g.run_id, g.token FROM given g)) IS TRUE
    RETURNING q.run_id, q.token, q.job_id, q.parent_id, q.has_family, q.limit_key, q.dedupe_key),
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
    DELETE FROM {schema}.run_dedupe d
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM ended k WHERE k.dedupe_key IS NOT NULL))
      AND ((d.job_id, d.key, d.run_id)
           IN (SELECT e.job_id, e.dedupe_key, e.run_id FROM ended e WHERE e.dedupe_key IS NOT NULL)) IS TRUE),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT DISTINCT e.job_id, 'c' || e.limit_key FROM ended e WHERE e.limit_key IS NOT NULL),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, result, attempts, redrives, worker_id, duration, expires_at)
    SELECT g.run_id, g.job_id, 'completed', g.result::jsonb, 1, g.redrives, $1, g.duration,
           clock_timestamp() + make_interval(secs => g.keep)
    FROM given g
    WHERE ((g.run_id, g.token) IN (SELECT e.run_id, e.token FROM ended e)) IS TRUE
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends}
SELECT run_id, token FROM ended
