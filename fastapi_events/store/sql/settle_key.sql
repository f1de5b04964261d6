-- Records what became of a claimed key's deliveries and gives the key back; nothing at all if the claim was lost.
--
-- $1 handler, $2 slot, $3 token, $4 version at reading, $5 drained, $6 delay in seconds (null: never, a dead head
-- parks it; at once if the key has changed since it was read, or if dead deliveries hold nothing any more), $7 worker,
-- $8 results: a JSON array of deliveries, $9 their attempts, $10 idempotency keys of those that are done and $11 their
-- positions, $12 the version that a process must read to take the key (0: any may look; whoever finds its head too new
-- for it says so here), $13 whether what is the head now is to be run alone, $14 the replay whose key it is (the zero UUID:
-- none).
-- Returns one row if the claim still held, with the number of deliveries that an abandoned attempt had done after all.
WITH own AS (
    UPDATE {schema}.parked_key
    SET blocked = NOT ($5 AND version = $4),
        due_at = CASE WHEN $6::float8 IS NULL AND version = $4
                           AND (SELECT h.on_dead FROM {schema}.handler h WHERE h.id = $1) = 'park'
                      THEN 'infinity'::timestamptz
                      WHEN $5 OR $6::float8 IS NULL THEN clock_timestamp()
                      ELSE clock_timestamp() + make_interval(secs => $6) END,
        token = token + 1, worker_id = NULL, needs = CASE WHEN version = $4 THEN $12::smallint ELSE 0 END,
        suspect = $13, crashes = 0
    WHERE slot = $2 AND handler_id = $1 AND token = $3
    RETURNING blocked),
result AS MATERIALIZED (
    SELECT r.*
    FROM jsonb_to_recordset($8::jsonb) AS r(
        position bigint, state text, reason text, note text, attempts integer, postponed integer, error_type text,
        error_message text, fingerprint text, holds boolean, tombstone uuid)
    WHERE EXISTS (SELECT FROM own)),
-- A dead delivery of a transactional handler leaves a mark too, so that no attempt that was given up can still commit.
marks AS (
    INSERT INTO {schema}.processing_mark AS m (handler_id, replay_id, key, position, outcome, dead_positions)
    SELECT $1, $14, n.key, coalesce(min(n.position) FILTER (WHERE n.outcome = 'd'), min(n.position)),
           min(n.outcome)::"char", array_agg(n.position) FILTER (WHERE n.outcome = 'x')
    FROM (SELECT d.key, d.position, 'd' AS outcome FROM unnest($10::uuid[], $11::bigint[]) AS d(key, position)
          UNION ALL
          SELECT r.tombstone, r.position, 'x' FROM result r WHERE r.tombstone IS NOT NULL) n
    WHERE EXISTS (SELECT FROM own)
    GROUP BY n.key
    ORDER BY n.key
    ON CONFLICT (handler_id, key, replay_id) DO UPDATE
    SET position = CASE WHEN m.outcome = 'x' THEN excluded.position ELSE m.position END,
        outcome = CASE WHEN m.outcome = 'x' THEN excluded.outcome ELSE m.outcome END,
        dead_positions = CASE WHEN m.outcome = 'x' THEN m.dead_positions || excluded.dead_positions
                              ELSE m.dead_positions END
    RETURNING m.key, m.position, m.outcome),
-- Where such an attempt has committed after all, the event is done. The positions are also given as an array, so that
-- the deliveries are found by index in whichever order the planner joins: on an empty table it cannot tell.
final AS MATERIALIZED (
    SELECT r.*, coalesce((r.tombstone, r.position) IN (SELECT m.key, m.position FROM marks m WHERE m.outcome = 'd'),
                         false) AS was_done
    FROM result r),
changed AS (
    UPDATE {schema}.delivery d
    SET state = CASE WHEN r.was_done THEN 'done' ELSE r.state END, reason = r.reason, note = r.note, attempts = r.attempts,
        postponed = d.postponed + r.postponed, error_type = coalesce(r.error_type, d.error_type),
        error_message = coalesce(r.error_message, d.error_message),
        fingerprint = coalesce(r.fingerprint, d.fingerprint), changed_at = clock_timestamp(),
        holds = r.holds AND NOT r.was_done AND (SELECT h.on_dead FROM {schema}.handler h WHERE h.id = $1) = 'park',
        tombstone = coalesce(r.tombstone, d.tombstone), crashes = CASE r.reason WHEN 'crashed_worker' THEN d.crashes ELSE 0 END,
        event = CASE WHEN r.state = 'dead' AND d.event IS NULL THEN
            (SELECT to_jsonb(e) - 'xid' FROM {schema}.event e
             WHERE e.lane = d.lane AND e.partition = d.partition AND e.position >= d.position AND e.position <= d.position
             ORDER BY e.lane, e.partition, e.position
             LIMIT 1) ELSE d.event END
    FROM final r
    WHERE d.handler_id = $1 AND d.position = ANY (ARRAY(SELECT f.position FROM final f)) AND d.position = r.position
      AND d.replay_id = $14
    RETURNING d.id, d.position),
attempts AS (
    INSERT INTO {schema}.attempt (delivery_id, number, outcome, error_type, error_message, traceback, worker_id, duration)
    SELECT a.delivery_id, a.number, a.outcome, a.error_type, a.error_message, a.traceback, $7, a.duration
    FROM jsonb_to_recordset($9::jsonb) AS a(
        delivery_id uuid, number integer, outcome text, error_type text, error_message text, traceback text,
        duration float8)
    WHERE EXISTS (SELECT FROM own))
SELECT blocked, (SELECT count(*) FROM final WHERE was_done) AS done_after_all FROM own
