-- Which of the runs that a worker has in hand are to be cancelled, and why. $1 worker, $2 ids. The state is compared as text, so
-- that no index is begun with it.
SELECT c.run_id, c.token, c.reason
FROM (SELECT q.run_id, q.token,
             CASE WHEN q.exclusive
                  THEN coalesce(q.cancel_reason, (SELECT p.reason FROM {schema}.run_replaced p WHERE p.run_id = q.run_id))
                  ELSE q.cancel_reason END AS reason
      FROM {schema}.run_queue q
      WHERE q.run_id = ANY ($2::uuid[]) AND q.worker_id = $1 AND q.state::text = 'x') c
WHERE c.reason IS NOT NULL
