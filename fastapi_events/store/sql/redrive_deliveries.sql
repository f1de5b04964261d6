-- Puts dead deliveries back to waiting, with a fresh budget of attempts, at the place in their key's order that they had.
-- $1 ids. Their tombstones go, so that a transactional handler may apply its effects. One that has ended processes is run
-- alone again. Returns what was changed.
WITH chosen AS MATERIALIZED (
    SELECT d.handler_id, d.position, d.replay_id, d.tombstone
    FROM {schema}.delivery d
    WHERE d.id = ANY ($1::uuid[]) AND d.state = 'dead'
    ORDER BY d.handler_id, d.position, d.replay_id
    FOR UPDATE),
changed AS (
    UPDATE {schema}.delivery d
    SET state = 'waiting', reason = CASE d.reason WHEN 'crashed_worker' THEN 'crash_suspect' ELSE 'redrive' END, crashes = 0,
        attempts_before = d.attempts, redrives = d.redrives + 1,
        holds = false, changed_at = clock_timestamp()
    FROM chosen c
    WHERE d.handler_id = c.handler_id AND d.position = c.position AND d.replay_id = c.replay_id
    RETURNING d.id, d.handler_id, d.slot, d.lane),
-- One index look-up for each mark: LIMIT keeps the planner from beginning with the marks. Locked, they stay in place.
marked AS MATERIALIZED (
    SELECT found.ctid AS place, g.positions
    FROM (SELECT c.handler_id, c.tombstone, c.replay_id, array_agg(c.position) AS positions
          FROM chosen c WHERE c.tombstone IS NOT NULL
          GROUP BY c.handler_id, c.tombstone, c.replay_id ORDER BY c.handler_id, c.tombstone, c.replay_id) g
    CROSS JOIN LATERAL (
        SELECT m.ctid FROM {schema}.processing_mark m
        WHERE m.handler_id = g.handler_id AND m.key = g.tombstone
          AND m.replay_id = g.replay_id AND m.outcome = 'x'
        LIMIT 1
        FOR UPDATE) found),
unburied AS (
    UPDATE {schema}.processing_mark m
    SET dead_positions = ARRAY(SELECT unnest(m.dead_positions) EXCEPT SELECT unnest(w.positions))
    FROM marked w
    WHERE m.ctid = w.place AND m.ctid = ANY (ARRAY(SELECT place FROM marked))),
keys AS (
    INSERT INTO {schema}.parked_key AS k (handler_id, slot, due_at, lane)
    SELECT handler_id, slot, clock_timestamp(), min(lane) FROM changed GROUP BY handler_id, slot ORDER BY 2, 1
    ON CONFLICT (slot, handler_id) DO UPDATE
    SET version = k.version + 1, blocked = true, needs = 0,
        due_at = CASE WHEN k.worker_id IS NULL THEN excluded.due_at ELSE k.due_at END)
SELECT id FROM changed
