-- Gives deliveries up for good; what waits behind them becomes due, and whoever claims it sees whether another dead one
-- still holds it. Tombstones stay: an attempt that was given up shall not commit now either. $1 ids, $2 the reason, kept
-- with them.
WITH chosen AS MATERIALIZED (
    SELECT d.handler_id, d.position, d.replay_id
    FROM {schema}.delivery d
    WHERE d.id = ANY ($1::uuid[]) AND d.state = 'dead'
    ORDER BY d.handler_id, d.position, d.replay_id
    FOR UPDATE),
changed AS (
    UPDATE {schema}.delivery d
    SET state = 'discarded', note = $2, changed_at = clock_timestamp()
    FROM chosen c
    WHERE d.handler_id = c.handler_id AND d.position = c.position AND d.replay_id = c.replay_id
    RETURNING d.id, d.handler_id, d.slot),
keys AS (
    UPDATE {schema}.parked_key k
    SET version = k.version + 1,
        due_at = CASE WHEN k.due_at = 'infinity' THEN clock_timestamp() ELSE k.due_at END
    FROM changed c
    WHERE k.slot = c.slot AND k.handler_id = c.handler_id AND k.blocked)
SELECT id FROM changed
