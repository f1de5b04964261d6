-- Locks runs that are to be cancelled and that nobody runs, whoever has their jobs. $1 how many at most of either kind: those that were
-- cancelled, behind the id $2, and those whose place others have taken, behind $3. Returns them; what somebody else has locked is left
-- out. A statement of its own: what follows sees also the child that was just being spawned when this one began.
WITH canceled AS MATERIALIZED (
    SELECT p.run_id FROM {schema}.run_queue p
    WHERE p.cancel_reason IS NOT NULL AND p.state <> 'x' AND p.run_id > $2
    ORDER BY p.run_id
    LIMIT $1
    FOR UPDATE SKIP LOCKED),
replaced AS MATERIALIZED (
    SELECT k.run_id
    FROM (SELECT t.run_id FROM {schema}.run_replaced t WHERE t.run_id > $3 ORDER BY t.run_id) p
    CROSS JOIN LATERAL (
        SELECT o.run_id FROM {schema}.run_queue o
        WHERE o.run_id = p.run_id AND o.state::text <> 'x' AND o.cancel_reason IS NULL
        LIMIT 1
        FOR UPDATE SKIP LOCKED) k
    LIMIT $1),
-- What was said to runs that have ended since is forgotten, so that what is walked above is said to runs at work.
forgotten AS (
    DELETE FROM {schema}.run_replaced p
    WHERE p.run_id = ANY (ARRAY(
        SELECT o.run_id FROM {schema}.run_replaced o
        WHERE (SELECT count(*) FROM (SELECT FROM {schema}.run_queue q WHERE q.run_id = o.run_id LIMIT 1) there) = 0
        ORDER BY o.run_id LIMIT $1
        FOR UPDATE SKIP LOCKED)))
SELECT c.run_id, false AS replaced FROM canceled c UNION ALL SELECT r.run_id, true FROM replaced r
