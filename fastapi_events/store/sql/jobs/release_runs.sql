-- Gives runs back that were claimed and have not begun. $1 worker, $2 ids and $3 tokens, in the order of the ids. Tokens
-- are looked up by IN ... IS TRUE, which hashes them; the state is compared as text, so that no index is begun with it.
UPDATE {schema}.run_queue q
SET state = 'r', due_at = NULL, worker_id = NULL
WHERE q.run_id = ANY ($2) AND q.worker_id = $1 AND q.state::text = 'x'
  AND ((q.run_id, q.token) IN (SELECT h.run_id, h.token FROM unnest($2::uuid[], $3::bigint[]) AS h(run_id, token))) IS TRUE
RETURNING q.run_id
