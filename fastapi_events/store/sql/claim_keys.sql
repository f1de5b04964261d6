-- Takes parked keys that are due, for the handlers that this process has. The row is lock and lease of its key: due_at
-- moves to the end of the lease, the token to this claim. $1 handlers, $2 limit, $3 lease in seconds, $4 worker,
-- $5 how far back to look in seconds (null: everything): dead index entries of keys claimed long ago are then not walked;
-- $6 how many of each handler at most, in the order of $1, $7 handlers that are being probed: one whose breaker is open
-- gives nothing otherwise, whether or not this process has heard of it; $8 lanes that are paused; $9 the newest version
-- of its event that this process reads, in the order of $1.
--
-- Keys whose head needs a newer version than some process reads have an index of their own: a process of the release
-- before walks none of them, however many wait for the next one. A moment that is selected is known before the index is
-- read, and ends the walk there; one that is computed would be compared with every key of the handler. Keys that are to
-- be run alone are claimed by another statement.
--
-- A key that is still somebody's is one whose lease has run out. Its holder has vanished if it has given no sign of life
-- since either: one that lives renews itself before half a lease is over.
UPDATE {schema}.parked_key AS k
SET token = k.token + 1, due_at = clock_timestamp() + make_interval(secs => $3), worker_id = $4,
    crashes = CASE WHEN k.worker_id IS NULL OR k.worker_id = $4 THEN k.crashes
                   ELSE least(k.crashes + (SELECT count(*) FROM {schema}.worker v
                                           WHERE v.id = k.worker_id
                                             AND v.lease_until < k.due_at + make_interval(secs => $3::float8 / 2)), 9) END
WHERE k.ctid = ANY (ARRAY(
    SELECT due.ctid
    FROM unnest($1::integer[], $6::integer[], $9::integer[]) AS h(id, room, reads)
    LEFT JOIN {schema}.breaker b ON b.handler_id = h.id AND b.opened_at IS NOT NULL AND h.id <> ALL ($7::integer[])
    CROSS JOIN LATERAL (
        SELECT usual.ctid
        FROM (SELECT p.ctid FROM {schema}.parked_key p
              WHERE p.handler_id = h.id AND p.blocked AND p.needs = 0 AND NOT p.suspect
                AND p.due_at <= (SELECT clock_timestamp())
                AND b.handler_id IS NULL AND p.lane <> ALL ($8::smallint[])
                AND p.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $5), '-infinity'))
              ORDER BY p.handler_id, p.due_at
              LIMIT h.room
              FOR UPDATE SKIP LOCKED) usual
        UNION ALL
        SELECT newer.ctid
        FROM (SELECT p.ctid FROM {schema}.parked_key p
              WHERE p.handler_id = h.id AND p.blocked AND p.needs > 0 AND p.needs <= h.reads AND NOT p.suspect
                AND p.due_at <= (SELECT clock_timestamp())
                AND b.handler_id IS NULL AND p.lane <> ALL ($8::smallint[])
                AND p.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $5), '-infinity'))
              ORDER BY p.handler_id, p.needs, p.due_at
              LIMIT h.room
              FOR UPDATE SKIP LOCKED) newer
        LIMIT h.room) due
    LIMIT $2))
RETURNING k.handler_id, k.slot, k.token, k.crashes
