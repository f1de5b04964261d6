-- Gives runs back that were claimed and have not begun. $1 worker, $2 ids and $3 tokens, in the order of the ids.
UPDATE {schema}.run_queue q
SET state = 'r', due_at = NULL, worker_id = NULL
FROM unnest($2::uuid[], $3::bigint[]) AS h(run_id, token)
WHERE q.run_id = ANY ($2) AND q.run_id = h.run_id AND q.token = h.token AND q.worker_id = $1 AND q.state = 'x'
RETURNING q.run_id
