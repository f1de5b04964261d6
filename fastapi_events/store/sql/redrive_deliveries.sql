-- Puts dead deliveries back to waiting, with a fresh budget of attempts, at the place in their key's order that they had.
-- $1 ids. Their tombstones go, so that a transactional handler may apply its effects. Returns what was changed.
WITH chosen AS MATERIALIZED (
    SELECT d.handler_id, d.position, d.slot, d.id, d.event_id
    FROM {schema}.delivery d
    WHERE d.id = ANY ($1::uuid[]) AND d.state = 'dead'
    ORDER BY d.handler_id, d.position
    FOR UPDATE),
changed AS (
    UPDATE {schema}.delivery d
    SET state = 'waiting', reason = 'redrive', attempts_before = d.attempts, redrives = d.redrives + 1,
        changed_at = clock_timestamp()
    FROM chosen c
    WHERE d.handler_id = c.handler_id AND d.position = c.position
    RETURNING d.id, d.handler_id, d.slot),
unburied AS (
    DELETE FROM {schema}.processing_mark m USING chosen c
    WHERE m.handler_id = c.handler_id AND m.position = c.position AND m.outcome = 'x'),
keys AS (
    INSERT INTO {schema}.parked_key AS k (handler_id, slot, due_at)
    SELECT DISTINCT handler_id, slot, clock_timestamp() FROM changed ORDER BY 2, 1
    ON CONFLICT (slot, handler_id) DO UPDATE
    SET version = k.version + 1, blocked = true,
        due_at = CASE WHEN k.worker_id IS NULL THEN excluded.due_at ELSE k.due_at END)
SELECT id FROM changed
