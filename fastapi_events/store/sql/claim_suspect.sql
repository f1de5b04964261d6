-- Takes some of the parked keys that are to be run alone: one after the other, and each says so before it begins. $1
-- handlers, $2 lease in seconds, $3 worker, $4 handlers that are being probed: of those one key each, $5 lanes that are
-- paused, $6 the newest version of its event that this process reads, in the order of $1, $7 keys at most, $8 for each
-- handler the replay that it begins with, if only keys of that are to be taken (else null): a breaker is of what is live.
UPDATE {schema}.parked_key AS k
SET token = k.token + 1, due_at = clock_timestamp() + make_interval(secs => $2), worker_id = $3
WHERE k.ctid = ANY (ARRAY(
    SELECT due.ctid
    FROM unnest($1::integer[], $6::integer[], $8::uuid[]) AS h(id, reads, replay)
    LEFT JOIN {schema}.breaker b ON b.handler_id = h.id AND b.opened_at IS NOT NULL AND h.id <> ALL ($4::integer[])
                                AND h.replay IS NULL
    CROSS JOIN LATERAL (
        SELECT p.ctid FROM {schema}.parked_key p
        WHERE p.handler_id = h.id AND p.blocked AND p.suspect AND p.needs <= h.reads
          AND p.due_at <= (SELECT clock_timestamp()) AND b.handler_id IS NULL AND p.lane <> ALL ($5::smallint[])
          AND (h.replay IS NULL OR starts_with(p.slot, '~' || h.replay || '~'))
        ORDER BY p.handler_id, p.due_at
        LIMIT CASE WHEN h.id = ANY ($4::integer[]) THEN 1 ELSE $7::bigint END
        FOR UPDATE SKIP LOCKED) due
    LIMIT $7::bigint))
RETURNING k.handler_id, k.slot, k.token
