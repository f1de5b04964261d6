-- Which of these runs, that the caller has locked, are still to be cancelled, and run by nobody. $1 ids. The state is compared as text, so that
-- no index is begun with it.
SELECT q.run_id FROM {schema}.run_queue q
WHERE q.run_id = ANY ($1::uuid[]) AND q.state::text <> 'x'
  AND coalesce(q.cancel_reason, (SELECT p.reason FROM {schema}.run_replaced p WHERE p.run_id = q.run_id)) IS NOT NULL
