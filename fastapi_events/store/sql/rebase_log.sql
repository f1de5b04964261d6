-- After a restore into another cluster the stored transaction ids mean nothing there. What a group has not handled gets
-- this transaction's id, so that it is new for everybody; everything else gets an id that is visible to everybody.
UPDATE {schema}.event e
SET xid = CASE WHEN EXISTS (
        SELECT FROM {schema}.consumer_group g
        CROSS JOIN LATERAL (
            SELECT l.seen, l.target, l.position FROM {schema}.cursor_log l
            WHERE l.group_id = g.id AND l.lane = e.lane AND l.partition = e.partition
            ORDER BY l.group_id DESC, l.lane DESC, l.partition DESC, l.seq DESC LIMIT 1) c
        WHERE NOT pg_visible_in_snapshot(e.xid, c.seen)
          AND NOT (c.target IS NOT NULL AND pg_visible_in_snapshot(e.xid, c.target) AND e.position <= c.position))
    THEN pg_current_xact_id() ELSE '3'::xid8 END
