-- Extends the leases of the runs that a worker has in hand. $1 worker, $2 lease in seconds, $3 ids and $4 tokens, in the order of
-- the ids. Returns those that are its own, each with the reason for which it is to be cancelled, if it is, and whether its lease was
-- extended. Nobody is waited for: one row that somebody has locked would cost the leases of all. While it is locked nobody else can
-- take that run either; it is asked for again soon. Tokens are looked up by IN ... IS TRUE, which hashes them; the state is compared as
-- text, so that no index is begun with it.
WITH mine AS MATERIALIZED (
    SELECT q.run_id, q.token, q.exclusive, q.cancel_reason
    FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($3) AND q.worker_id = $1 AND q.state::text = 'x'
      AND ((q.run_id, q.token) IN (SELECT h.run_id, h.token FROM unnest($3::uuid[], $4::bigint[]) AS h(run_id, token))) IS TRUE),
free AS MATERIALIZED (
    SELECT q.run_id
    FROM {schema}.run_queue q
    WHERE q.run_id = ANY (ARRAY(SELECT m.run_id FROM mine m)) AND q.state::text = 'x'
      AND ((q.run_id, q.token) IN (SELECT m.run_id, m.token FROM mine m)) IS TRUE
    ORDER BY q.run_id
    FOR NO KEY UPDATE SKIP LOCKED),
renewed AS (
    UPDATE {schema}.run_queue q
    SET due_at = clock_timestamp() + make_interval(secs => $2)
    WHERE q.run_id = ANY (ARRAY(SELECT f.run_id FROM free f))
    RETURNING q.run_id)
SELECT m.run_id, m.token, (m.run_id IN (SELECT r.run_id FROM renewed r)) IS TRUE AS renewed,
       CASE WHEN m.exclusive
            THEN coalesce(m.cancel_reason, (SELECT p.reason FROM {schema}.run_replaced p WHERE p.run_id = m.run_id))
            ELSE m.cancel_reason END AS cancel_reason
FROM mine m
