-- Records how far a share of a replay has got, and gives it back; nothing at all if it was lost.
--
-- $1 replay, $2 lane, $3 partition, $4 token, $5 the last position dealt with, $6 whether that was the last of all, $7 worker,
-- $8 deliveries and $9 their attempts: JSON arrays, $10..$12 marks: keys, positions and outcomes ('d' done, 'x' dead),
-- $13 events done, $14 failed, $15 skipped. Returns one row if the share was still this worker's.
WITH own AS (
    UPDATE {schema}.replay_share s
    SET position = $5, finished = $6, lease_until = NULL, worker_id = NULL, crashes = 0
    WHERE s.replay_id = $1 AND s.lane = $2 AND s.partition = $3 AND s.token = $4
    RETURNING s.replay_id),
progress AS (
    UPDATE {schema}.replay r
    SET done = r.done + $13, failed = r.failed + $14, skipped = r.skipped + $15, changed_at = clock_timestamp()
    WHERE r.id = $1 AND EXISTS (SELECT FROM own)
    RETURNING r.handler_id),
marks AS (
    INSERT INTO {schema}.processing_mark AS m (handler_id, replay_id, key, position, outcome, dead_positions)
    SELECT p.handler_id, $1, n.key, coalesce(min(n.position) FILTER (WHERE n.outcome = 'd'), min(n.position)),
           min(n.outcome)::"char", array_agg(n.position) FILTER (WHERE n.outcome = 'x')
    FROM unnest($10::uuid[], $11::bigint[], $12::text[]) AS n(key, position, outcome)
    CROSS JOIN progress p
    GROUP BY p.handler_id, n.key
    ORDER BY n.key
    ON CONFLICT (handler_id, key, replay_id) DO UPDATE
    SET position = CASE WHEN m.outcome = 'x' THEN excluded.position ELSE m.position END,
        outcome = CASE WHEN m.outcome = 'x' THEN excluded.outcome ELSE m.outcome END,
        dead_positions = CASE WHEN m.outcome = 'x' THEN m.dead_positions || excluded.dead_positions
                              ELSE m.dead_positions END
    RETURNING m.key, m.position, m.outcome),
-- A delivery that died although an attempt that was given up has committed after all is done: see its mark.
parked AS MATERIALIZED (
    SELECT p.*, d.done_after_all,
           CASE WHEN p.state = 'dead' THEN p.holds AND NOT d.done_after_all AND h.on_dead = 'park' ELSE p.holds END AS parks
    FROM jsonb_to_recordset($8::jsonb) AS p(
        id uuid, handler_id integer, position bigint, slot text, event_id uuid, event_name text, tenant_id text, state text,
        reason text, note text, attempts integer, postponed integer, error_type text, error_message text,
        fingerprint text, published_at timestamptz, delay float8, holds boolean, tombstone uuid, needs smallint)
    JOIN progress g ON g.handler_id = p.handler_id
    JOIN {schema}.handler h ON h.id = p.handler_id
    CROSS JOIN LATERAL (
        SELECT coalesce((p.tombstone, p.position) IN (SELECT m.key, m.position FROM marks m WHERE m.outcome = 'd'), false)
            AS done_after_all) d),
deliveries AS (
    INSERT INTO {schema}.delivery (id, handler_id, replay_id, position, lane, partition, slot, event_id, event_name,
                                   tenant_id, state, reason, note, attempts, postponed, error_type, error_message,
                                   fingerprint, published_at, holds, tombstone, event)
    SELECT p.id, p.handler_id, $1, p.position, $2, $3, p.slot, p.event_id, p.event_name, p.tenant_id,
           CASE WHEN p.done_after_all THEN 'done' ELSE p.state END,
           p.reason, p.note, p.attempts, p.postponed, p.error_type, p.error_message, p.fingerprint, p.published_at,
           p.parks AND p.state = 'dead', p.tombstone,
           CASE WHEN p.state = 'dead' AND NOT p.done_after_all THEN
               (SELECT to_jsonb(e) - 'xid' FROM {schema}.event e
                WHERE e.lane = $2 AND e.partition = $3 AND e.position >= p.position AND e.position <= p.position
                ORDER BY e.lane, e.partition, e.position
                LIMIT 1) END
    FROM parked p
    ORDER BY p.handler_id, p.position
    ON CONFLICT DO NOTHING),
attempts AS (
    INSERT INTO {schema}.attempt (delivery_id, number, outcome, error_type, error_message, traceback, worker_id, duration)
    SELECT a.delivery_id, a.number, a.outcome, a.error_type, a.error_message, a.traceback, $7, a.duration
    FROM jsonb_to_recordset($9::jsonb) AS a(
        delivery_id uuid, number integer, outcome text, error_type text, error_message text, traceback text,
        duration float8)
    WHERE EXISTS (SELECT FROM own)),
-- As settle_batch parks keys; the slots are the replay's own, so that no live key is ever parked.
slots AS (
    INSERT INTO {schema}.parked_key AS k (handler_id, slot, needs, due_at, version, lane, suspect)
    SELECT p.handler_id, p.slot, coalesce((array_agg(p.needs ORDER BY p.position))[1], 0),
           CASE WHEN bool_or(p.state = 'dead') THEN 'infinity'::timestamptz
                ELSE clock_timestamp() + make_interval(secs => max(p.delay)) END,
           count(*), $2, (array_agg(p.reason = 'crash_suspect' ORDER BY p.position))[1]
    FROM parked p
    WHERE p.parks
    GROUP BY p.slot, p.handler_id
    ORDER BY p.slot, p.handler_id
    ON CONFLICT (slot, handler_id) DO UPDATE
    SET version = k.version + 1,
        due_at = CASE WHEN k.blocked THEN k.due_at ELSE excluded.due_at END,
        needs = CASE WHEN k.blocked THEN k.needs ELSE excluded.needs END,
        suspect = CASE WHEN k.blocked THEN k.suspect ELSE excluded.suspect END,
        crashes = CASE WHEN k.blocked THEN k.crashes ELSE 0 END,
        blocked = true)
SELECT replay_id FROM own
