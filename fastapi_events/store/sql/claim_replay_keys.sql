-- Takes parked keys that are due of replays that handlers begin with: what is live of such a handler waits, due or not,
-- and may be millions. So the keys are found by the replay's own deliveries, of which a thousand wait at most. $1
-- handlers, $2 the replay of each, $3 how many keys of each at most, $4 the newest version of its event that this
-- process reads, $5 limit, $6 lease in seconds, $7 worker, $8 lanes that are paused. Row, lease, token and crashes are
-- as in claim_keys.
UPDATE {schema}.parked_key AS k
SET token = k.token + 1, due_at = clock_timestamp() + make_interval(secs => $6), worker_id = $7,
    crashes = CASE WHEN k.worker_id IS NULL OR k.worker_id = $7 THEN k.crashes
                   ELSE least(k.crashes + (SELECT count(*) FROM {schema}.worker v
                                           WHERE v.id = k.worker_id
                                             AND v.lease_until < k.due_at + make_interval(secs => $6::float8 / 2)), 9) END
WHERE k.ctid = ANY (ARRAY(
    SELECT due.ctid
    FROM unnest($1::integer[], $2::uuid[], $3::integer[], $4::integer[]) AS h(id, replay, room, reads)
    CROSS JOIN LATERAL (
        SELECT p.ctid
        FROM (SELECT DISTINCT d.slot FROM {schema}.delivery d
              WHERE d.replay_id = h.replay AND d.replay_id <> '00000000-0000-0000-0000-000000000000'
                AND d.state = 'waiting') s
        CROSS JOIN LATERAL (
            SELECT q.ctid FROM {schema}.parked_key q
            WHERE q.slot = s.slot AND q.handler_id = h.id AND q.blocked AND NOT q.suspect AND q.needs <= h.reads
              AND q.due_at <= clock_timestamp() AND q.lane <> ALL ($8::smallint[])
            LIMIT 1
            FOR UPDATE SKIP LOCKED) p
        LIMIT h.room) due
    LIMIT $5))
RETURNING k.handler_id, k.slot, k.token, k.crashes
