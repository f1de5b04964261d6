-- Whoever ends is one child less to the run that spawned it, which goes on if it waits for that: for each, for the last one,
-- or for one that has not succeeded (failed), which decides for all. And its own children are closed as they were to be. A run
-- may be both, and no statement changes a row twice, so this is one change, and none of what the statement changes itself.
-- What is to be cancelled and is not at work is ended by whoever finds it (end_canceled_runs), and so closes its children in
-- turn; nothing is left to be said to it here. The runs that end are rows of a CTE "ended", and what the statement changes of
-- one "changed". Whoever ends a run that may have children has locked it in a statement before (lock_families): else one that
-- is just being spawned would not be seen.
concerned AS MATERIALIZED (
    SELECT r.run_id, sum(r.ended)::integer AS ended, bool_or(r.closes) AS closes, bool_or(r.failed) AS failed
    FROM (SELECT e.parent_id AS run_id, 1 AS ended, false AS closes, e.failed FROM ended e WHERE e.parent_id IS NOT NULL
          UNION ALL
          SELECT s.run_id, 0, true, false FROM ended e
          JOIN {schema}.run_queue s ON s.parent_id = e.run_id AND s.on_parent_close <> 'abandon'
             AND s.parent_id = ANY (ARRAY(SELECT f.run_id FROM ended f WHERE f.has_family))
             AND (s.cancel_reason IS NULL OR s.state::text = 'x')
          WHERE e.has_family) r
    GROUP BY r.run_id ORDER BY r.run_id),
relatives AS (
    UPDATE {schema}.run_queue k
    SET children = k.children - c.ended, news = k.news + 1,
        cancel_reason = CASE WHEN c.closes THEN coalesce(k.cancel_reason, 'the run that spawned it has ended')
                             ELSE k.cancel_reason END,
        state = CASE WHEN c.closes AND NOT (k.state = 'x' AND k.on_parent_close = 'cancel') THEN 'r'::"char"
                     WHEN k.state = 'w' AND (k.wakes OR c.failed OR k.children <= c.ended) THEN 'r'::"char" ELSE k.state END,
        due_at = CASE WHEN k.state = 'x' AND NOT (c.closes AND k.on_parent_close = 'terminate') THEN k.due_at
                      WHEN c.closes THEN NULL ELSE k.due_at END,
        worker_id = CASE WHEN c.closes AND k.on_parent_close = 'terminate' THEN NULL ELSE k.worker_id END
    FROM concerned c
    WHERE k.run_id = ANY (ARRAY(SELECT n.run_id FROM concerned n)) AND k.run_id = c.run_id
      AND (k.run_id IN (SELECT o.run_id FROM changed o)) IS NOT TRUE)
