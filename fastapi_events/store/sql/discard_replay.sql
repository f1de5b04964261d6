-- Gives up what waits of a replay that was cancelled. $1 replay, $2 the reason, kept with each, $3 deliveries at most. Keys that
-- somebody works on at this moment are left alone; the others are locked before their deliveries, as settling does, and
-- their token moves on. Returns what was changed.
WITH chosen AS MATERIALIZED (
    SELECT d.handler_id, d.slot, d.position FROM {schema}.delivery d
    WHERE d.replay_id = $1 AND d.replay_id <> '00000000-0000-0000-0000-000000000000' AND d.state = 'waiting'
    LIMIT $3),
keys AS MATERIALIZED (
    SELECT k.slot FROM {schema}.parked_key k
    WHERE k.slot = ANY (ARRAY(SELECT DISTINCT slot FROM chosen))
      AND k.handler_id = (SELECT handler_id FROM chosen LIMIT 1)
      AND (k.worker_id IS NULL OR k.due_at <= clock_timestamp())
    ORDER BY k.slot
    FOR UPDATE SKIP LOCKED),
freed AS (
    UPDATE {schema}.parked_key k
    SET token = k.token + 1, version = k.version + 1, worker_id = NULL, due_at = least(k.due_at, clock_timestamp()),
        blocked = coalesce((SELECT true FROM {schema}.delivery q
                            WHERE q.handler_id = k.handler_id AND q.slot = k.slot AND q.state = 'waiting'
                              AND q.position <> ALL (ARRAY(SELECT position FROM chosen))
                            ORDER BY q.handler_id, q.slot, q.position
                            LIMIT 1),
                           (SELECT true FROM {schema}.delivery q
                            WHERE q.handler_id = k.handler_id AND q.slot = k.slot AND q.state = 'dead' AND q.holds
                            ORDER BY q.handler_id, q.slot, q.position
                            LIMIT 1), false)
    WHERE k.slot = ANY (ARRAY(SELECT slot FROM keys)) AND k.handler_id = (SELECT handler_id FROM chosen LIMIT 1))
UPDATE {schema}.delivery d
SET state = 'discarded', note = $2, changed_at = clock_timestamp()
FROM chosen c
WHERE d.handler_id = c.handler_id AND d.position = ANY (ARRAY(SELECT position FROM chosen)) AND d.position = c.position
  AND d.replay_id = $1 AND d.state = 'waiting' AND c.slot = ANY (ARRAY(SELECT slot FROM keys))
RETURNING d.id
