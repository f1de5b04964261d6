-- Removes old processing marks from some pages of their table. $1 first page, $2 page after the last, $3 age in seconds,
-- $4 handlers, $5 for each the moment since which marks are kept whatever their age.
--
-- The mark of an event that waits or is dead stays as long as that delivery. A key that is no UUIDv7 may be a user's own
-- idempotency key, and then another event that waits may have it too: of those, everything since $5 is kept.
DELETE FROM {schema}.processing_mark
WHERE ctid = ANY (ARRAY(
    SELECT m.ctid FROM {schema}.processing_mark m
    WHERE m.ctid >= format('(%s,0)', $1::bigint)::tid AND m.ctid < format('(%s,0)', $2::bigint)::tid
      AND m.marked_at < clock_timestamp() - make_interval(secs => $3)
      AND EXISTS (SELECT FROM unnest($4::integer[], $5::timestamptz[]) AS h(id, keep_since)
                  WHERE h.id = m.handler_id
                    AND (substr(m.key::text, 15, 1) = '7' OR m.marked_at < h.keep_since))
      AND NOT EXISTS (SELECT FROM {schema}.delivery d
                      WHERE d.handler_id = m.handler_id AND d.position = ANY (m.position || m.dead_positions)
                        AND d.state IN ('waiting', 'dead'))
    FOR UPDATE OF m SKIP LOCKED))
