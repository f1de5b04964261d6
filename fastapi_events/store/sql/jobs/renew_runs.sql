-- Extends the leases of the runs that a worker has in hand. $1 worker, $2 lease in seconds, $3 ids and $4 tokens, in the order of
-- the ids. Returns those that are still its own, each with the reason for which it is to be cancelled, if it is. Tokens are looked
-- up by IN ... IS TRUE, which hashes them; the state is compared as text, so that no index is begun with it.
UPDATE {schema}.run_queue q
SET due_at = clock_timestamp() + make_interval(secs => $2)
WHERE q.run_id = ANY ($3) AND q.worker_id = $1 AND q.state::text = 'x'
  AND ((q.run_id, q.token) IN (SELECT h.run_id, h.token FROM unnest($3::uuid[], $4::bigint[]) AS h(run_id, token))) IS TRUE
RETURNING q.run_id, q.token,
          CASE WHEN q.exclusive
               THEN coalesce(q.cancel_reason, (SELECT p.reason FROM {schema}.run_replaced p WHERE p.run_id = q.run_id))
               ELSE q.cancel_reason END AS cancel_reason
