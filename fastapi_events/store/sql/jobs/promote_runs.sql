-- Makes runs ready whose time has come: those that waited for it, and those whose worker has let the lease run out. $1 how many
-- at most, $2 how far back to look in seconds (null: everything): dead index entries of leases are then not walked, $3 lease
-- in seconds. Returns their jobs.
--
-- A limited run that is not in the middle of an attempt comes to its gate, with a turn.
--
-- Whoever let a lease run out has vanished if it has given no sign of life since either: one that lives renews itself before
-- half a lease is over. That counts against a run which was alone at work, unless it has got on by a step meanwhile; what was in
-- hand in company is no more than in doubt. Whether somebody has vanished or not, the next attempt is told that nobody knows what the last one did.
WITH due AS (
UPDATE {schema}.run_queue AS q
SET state = CASE WHEN q.holds OR q.state = 'x' OR coalesce(q.limit_key, q.rate_key) IS NULL THEN 'r' ELSE 'g' END::"char",
    gate = CASE WHEN q.holds OR q.state = 'x' THEN NULL ELSE coalesce('c' || q.limit_key, 'r' || q.rate_key) END, due_at = NULL, worker_id = NULL,
    crashes = CASE WHEN q.state = 'x' THEN
        least(q.crashes + (SELECT count(*) FROM {schema}.worker v
                           WHERE v.id = q.worker_id
                             AND v.lease_until < q.due_at + make_interval(secs => $3::float8 / 2)), 9999) ELSE q.crashes END,
    crashes_alone = CASE WHEN q.state <> 'x' OR q.alone_since IS NULL THEN q.crashes_alone
        WHEN (SELECT count(*) FROM (
                  SELECT FROM {schema}.run_step s WHERE s.run_id = q.run_id AND s.changed_at > q.alone_since LIMIT 1) got_on) > 0 THEN 0
        ELSE least(q.crashes_alone + (SELECT count(*) FROM {schema}.worker v
                                      WHERE v.id = q.worker_id
                                        AND v.lease_until < q.due_at + make_interval(secs => $3::float8 / 2)), 9999) END,
    alone_since = NULL, lapsed = q.lapsed OR q.state = 'x'
WHERE q.ctid = ANY (ARRAY(
    SELECT p.ctid FROM {schema}.run_queue p
    WHERE p.due_at <= (SELECT clock_timestamp())
      AND p.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $2), '-infinity'))
    ORDER BY p.due_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED))
RETURNING q.job_id, q.gate),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT DISTINCT d.job_id, d.gate FROM due d WHERE d.gate IS NOT NULL)
SELECT d.job_id FROM due d
