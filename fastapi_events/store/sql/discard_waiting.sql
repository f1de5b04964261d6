-- Gives up what waits for a retired handler; of one that is in use again nothing is found. $1 handler, $2 the reason, kept
-- with each, $3 deliveries at most. Keys that somebody works on at this moment are left alone; the others are locked
-- before their deliveries, as settling does, and their token moves on. Returns what was changed.
WITH chosen AS MATERIALIZED (
    SELECT d.slot, d.position
    FROM {schema}.handler h
    CROSS JOIN LATERAL (
        SELECT q.slot, q.position FROM {schema}.delivery q
        WHERE q.handler_id = h.id AND q.state = 'waiting'
        ORDER BY q.handler_id, q.slot, q.position
        LIMIT $3) d
    WHERE h.id = $1 AND h.retired_at IS NOT NULL),
keys AS MATERIALIZED (
    SELECT k.slot FROM {schema}.parked_key k
    WHERE k.slot = ANY (ARRAY(SELECT DISTINCT slot FROM chosen)) AND k.handler_id = $1
      AND (k.worker_id IS NULL OR k.due_at <= clock_timestamp())
    ORDER BY k.slot
    FOR UPDATE SKIP LOCKED),
-- What is left in a key, or dead and holding it, keeps it parked; an empty one is cleared away by upkeep.
freed AS (
    UPDATE {schema}.parked_key k
    SET token = k.token + 1, version = k.version + 1, worker_id = NULL,
        due_at = least(k.due_at, clock_timestamp()),
        -- Ordered, so that on an empty table too only the index on just that will do.
        blocked = coalesce((SELECT true FROM {schema}.delivery q
                            WHERE q.handler_id = $1 AND q.slot = k.slot AND q.state = 'waiting'
                              AND q.position <> ALL (ARRAY(SELECT position FROM chosen))
                            ORDER BY q.handler_id, q.slot, q.position
                            LIMIT 1),
                           (SELECT true FROM {schema}.delivery q
                            WHERE q.handler_id = $1 AND q.slot = k.slot AND q.state = 'dead' AND q.holds
                            ORDER BY q.handler_id, q.slot, q.position
                            LIMIT 1), false)
    WHERE k.slot = ANY (ARRAY(SELECT slot FROM keys)) AND k.handler_id = $1)
UPDATE {schema}.delivery d
SET state = 'discarded', note = $2, changed_at = clock_timestamp()
FROM chosen c
WHERE d.handler_id = $1 AND d.position = ANY (ARRAY(SELECT position FROM chosen)) AND d.position = c.position
  AND d.slot = c.slot
  AND d.state = 'waiting' AND c.slot = ANY (ARRAY(SELECT slot FROM keys))
RETURNING d.id
