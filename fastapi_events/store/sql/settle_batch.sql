-- Records what became of a batch and moves its partitions' cursors: all of it, or for a partition that was lost none.
--
-- $1 group, $2 lane, $3 worker, $4 lease in seconds,
-- $5..$12 the partitions: partition, seq, seen, target, position, floor, remaining, keep (hold the lease, or free it),
-- $13..$16 marks: partition, handler, key, position and $17 outcome ('d' done, 'x' dead: so that no attempt at that event
-- that was given up can still commit),
-- $18..$20 successes: partition, position, set of handlers; $21 the sets, a JSON array of arrays of handler ids,
-- $22 when the batch began, $23 deliveries and $24 their attempts: JSON arrays, $25 for each partition of $5 how many
-- processes in a row have vanished at its place, $26 for each set of $21 why its handlers had nothing to do, or nothing at all.
-- A delivery that died although an attempt that was given up has committed after all is done: see its mark.
-- Returns the partitions that were still this worker's, each with its new fencing token.
WITH own AS (
    -- The conflict on seq + 1 is the fence. The probe of this worker's own last row covers a crash of the server that
    -- took asynchronously committed rows with it.
    INSERT INTO {schema}.cursor_log (group_id, lane, partition, seq, seen, target, position, floor, remaining,
                                     lease_until, worker_id, crashes)
    SELECT $1, $2, s.partition, s.seq + 1, s.seen, s.target, s.position, s.floor, s.remaining,
           CASE WHEN s.keep THEN clock_timestamp() + make_interval(secs => $4) END, $3, s.crashes
    FROM unnest($5::smallint[], $6::bigint[], $7::text[]::pg_snapshot[], $8::text[]::pg_snapshot[], $9::bigint[],
                $10::bigint[], $11::bigint[], $12::boolean[], $25::smallint[])
        AS s(partition, seq, seen, target, position, floor, remaining, keep, crashes)
    CROSS JOIN LATERAL (
        SELECT 1 FROM {schema}.cursor_log c
        WHERE c.group_id = $1 AND c.lane = $2 AND c.partition = s.partition AND c.seq = s.seq AND c.worker_id = $3
        LIMIT 1) mine
    ORDER BY s.partition
    ON CONFLICT DO NOTHING
    RETURNING partition, seq),
marks AS (
    INSERT INTO {schema}.processing_mark AS m (handler_id, key, position, outcome, dead_positions)
    SELECT m.handler_id, m.key, coalesce(min(m.position) FILTER (WHERE m.outcome = 'd'), min(m.position)),
           min(m.outcome)::"char", array_agg(m.position) FILTER (WHERE m.outcome = 'x')
    FROM unnest($13::smallint[], $14::integer[], $15::uuid[], $16::bigint[], $17::text[])
        AS m(partition, handler_id, key, position, outcome)
    JOIN own ON own.partition = m.partition
    GROUP BY m.handler_id, m.key
    ORDER BY m.handler_id, m.key
    ON CONFLICT (handler_id, key, replay_id) DO UPDATE
    SET position = CASE WHEN m.outcome = 'x' THEN excluded.position ELSE m.position END,
        outcome = CASE WHEN m.outcome = 'x' THEN excluded.outcome ELSE m.outcome END,
        dead_positions = CASE WHEN m.outcome = 'x' THEN m.dead_positions || excluded.dead_positions
                              ELSE m.dead_positions END
    RETURNING m.handler_id, m.key, m.position, m.outcome),
successes AS (
    INSERT INTO {schema}.success_batch (group_id, lane, first_position, last_position, handler_ids, positions,
                                        worker_id, started_at, note)
    SELECT $1, $2, s.lowest, s.highest,
           ARRAY(SELECT h.id::integer FROM jsonb_array_elements_text($21::jsonb -> s.set_number) AS h(id)),
           s.positions, $3, $22, ($26::text[])[s.set_number + 1]
    FROM (SELECT u.set_number, min(u.position) AS lowest, max(u.position) AS highest,
                 array_agg(u.position) AS positions
          FROM unnest($18::smallint[], $19::bigint[], $20::integer[]) AS u(partition, position, set_number)
          WHERE u.partition = ANY (ARRAY(SELECT partition FROM own))
          GROUP BY u.set_number) s),
parked AS MATERIALIZED (
    SELECT p.*, d.done_after_all,
           CASE WHEN p.state = 'dead' THEN p.holds AND NOT d.done_after_all AND h.on_dead = 'park' ELSE p.holds END AS parks
    FROM jsonb_to_recordset($23::jsonb) AS p(
        id uuid, handler_id integer, position bigint, partition smallint, slot text, event_id uuid, event_name text,
        tenant_id text, state text, reason text, note text, attempts integer, postponed integer, error_type text,
        error_message text, fingerprint text, published_at timestamptz, delay float8, holds boolean, tombstone uuid,
        token bigint, needs smallint)
    JOIN own ON own.partition = p.partition
    JOIN {schema}.handler h ON h.id = p.handler_id
    CROSS JOIN LATERAL (
        SELECT coalesce((p.handler_id, p.tombstone, p.position) IN
                        (SELECT m.handler_id, m.key, m.position FROM marks m WHERE m.outcome = 'd'), false)
            AS done_after_all) d),
deliveries AS (
    INSERT INTO {schema}.delivery (id, handler_id, position, lane, partition, slot, event_id, event_name, tenant_id,
                                   state, reason, note, attempts, postponed, error_type, error_message, fingerprint,
                                   published_at, holds, tombstone, event)
    SELECT p.id, p.handler_id, p.position, $2, p.partition, p.slot, p.event_id, p.event_name, p.tenant_id,
           CASE WHEN p.done_after_all THEN 'done' ELSE p.state END,
           p.reason, p.note, p.attempts, p.postponed, p.error_type, p.error_message, p.fingerprint, p.published_at,
           p.parks AND p.state = 'dead', p.tombstone,
           CASE WHEN p.state = 'dead' AND NOT p.done_after_all THEN
               (SELECT to_jsonb(e) - 'xid' FROM {schema}.event e
                WHERE e.lane = $2 AND e.partition = p.partition AND e.position >= p.position AND e.position <= p.position
                ORDER BY e.lane, e.partition, e.position
                LIMIT 1) END
    FROM parked p
    ORDER BY p.handler_id, p.position
    ON CONFLICT DO NOTHING),
attempts AS (
    INSERT INTO {schema}.attempt (delivery_id, number, outcome, error_type, error_message, traceback, worker_id, duration)
    SELECT a.delivery_id, a.number, a.outcome, a.error_type, a.error_message, a.traceback, $3, a.duration
    FROM jsonb_to_recordset($24::jsonb) AS a(
        delivery_id uuid, partition smallint, number integer, outcome text, error_type text, error_message text,
        traceback text, duration float8)
    JOIN own ON own.partition = a.partition),
-- A key is parked with the row that waits for it, in the same statement; a newcomer raises the version, so that whoever
-- empties the queue at this moment sees that it did not. A dead head is due never, until an operator acts. An attempt
-- that goes on beside its lane holds the key by the token that it brings, until its lease (the delay) is over; version
-- 1 says to it that nothing has been parked behind it. The head says which version a process must read to take the key,
-- and whether it is to be run alone; a key that is blocked already has another head. What comes behind a dead delivery
-- brings no moment (the epoch). A newcomer from a transaction that committed late may have its place before it, and is
-- not held: the key is due; so it is if the dead one is too new to be seen, and whoever claims it finds out.
slots AS (
    INSERT INTO {schema}.parked_key AS k (handler_id, slot, needs, due_at, token, worker_id, version, lane, suspect)
    SELECT p.handler_id, p.slot, coalesce((array_agg(p.needs ORDER BY p.position))[1], 0),
           CASE WHEN bool_or(p.state = 'dead') THEN 'infinity'::timestamptz
                WHEN (SELECT x.position FROM {schema}.delivery x
                      WHERE x.handler_id = p.handler_id AND x.slot = p.slot AND x.state = 'dead' AND x.holds
                      ORDER BY x.handler_id, x.slot, x.position
                      LIMIT 1) < min(p.position) THEN 'epoch'
                ELSE clock_timestamp() + make_interval(secs => max(p.delay)) END,
           coalesce(max(p.token), 1), CASE WHEN max(p.token) IS NOT NULL THEN $3::uuid END, count(*), $2,
           (array_agg(p.reason = 'crash_suspect' ORDER BY p.position))[1]
    FROM parked p
    WHERE p.parks
    GROUP BY p.slot, p.handler_id
    ORDER BY p.slot, p.handler_id
    ON CONFLICT (slot, handler_id) DO UPDATE
    SET version = k.version + 1,
        due_at = CASE WHEN k.blocked AND k.due_at < 'infinity' THEN k.due_at
                      WHEN excluded.due_at > 'epoch' THEN excluded.due_at
                      WHEN k.blocked THEN k.due_at
                      ELSE clock_timestamp() END,
        token = CASE WHEN k.blocked OR excluded.worker_id IS NULL THEN k.token ELSE excluded.token END,
        worker_id = CASE WHEN k.blocked OR excluded.worker_id IS NULL THEN k.worker_id ELSE excluded.worker_id END,
        needs = CASE WHEN k.blocked THEN k.needs ELSE excluded.needs END,
        suspect = CASE WHEN k.blocked THEN k.suspect ELSE excluded.suspect END,
        crashes = CASE WHEN k.blocked THEN k.crashes ELSE 0 END,
        blocked = true)
SELECT partition, seq FROM own
