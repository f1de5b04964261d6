-- Removes old events between two positions of one segment that every group has read. $1 lowest position, $2 position
-- after the highest, $3 age in seconds. Returns how many rows were removed, and how many are too young to be.
--
-- Neighbours by position lie beside each other on disk. A cursor says exactly what its group has dealt with: what its
-- snapshot shows, and of an open window what lies at or below its place.
WITH old_or_young AS MATERIALIZED (
    SELECT e.*, e.published_at < clock_timestamp() - make_interval(secs => $3) AS is_old, c.seen, c.target, c.reached
    FROM {schema}.installation i
    CROSS JOIN generate_series(0, 3) AS lane(number)
    CROSS JOIN LATERAL generate_series(0, i.partitions - 1) AS part(number)
    CROSS JOIN LATERAL (
        SELECT array_agg(n.seen) AS seen, array_agg(n.target) AS target, array_agg(n.position) AS reached
        FROM {schema}.consumer_group g
        CROSS JOIN LATERAL (
            SELECT l.seen, l.target, l.position FROM {schema}.cursor_log l
            WHERE l.group_id = g.id AND l.lane = lane.number::smallint AND l.partition = part.number::smallint
            ORDER BY l.group_id DESC, l.lane DESC, l.partition DESC, l.seq DESC
            LIMIT 1) n
        WHERE EXISTS (SELECT FROM {schema}.handler h WHERE h.group_id = g.id AND h.retired_at IS NULL)) c
    CROSS JOIN LATERAL (
        SELECT f.lane, f.partition, f.position, f.xid, f.published_at, f.tableoid AS home, f.ctid AS place
        FROM {schema}.event f
        WHERE f.lane = lane.number::smallint AND f.partition = part.number::smallint
          AND f.position >= $1 AND f.position < $2
        ORDER BY f.lane, f.partition, f.position) e),
old AS MATERIALIZED (
    SELECT e.lane, e.partition, e.position, e.home, e.place
    FROM old_or_young e
    WHERE e.is_old
      AND NOT EXISTS (
          SELECT FROM unnest(e.seen, e.target, e.reached) AS c(seen, target, reached)
          WHERE NOT pg_visible_in_snapshot(e.xid, c.seen)
            AND NOT coalesce(e.position <= c.reached AND pg_visible_in_snapshot(e.xid, c.target), false))),
-- A delivery that is not over takes a copy of its event, as one that dies does. Whoever parked it did so in the
-- statement that moved the cursor past the event, so this snapshot shows it.
copied AS (
    UPDATE {schema}.delivery d
    SET event = (SELECT to_jsonb(e) - 'xid' FROM {schema}.event e
                 WHERE e.lane = o.lane AND e.partition = o.partition
                   AND e.position >= o.position AND e.position <= o.position
                 ORDER BY e.lane, e.partition, e.position
                 LIMIT 1)
    FROM old o
    WHERE d.position = ANY (ARRAY(SELECT position FROM old)) AND d.position = o.position
      AND d.state IN ('waiting', 'dead') AND d.event IS NULL),
-- A segment is one table, and a place is unique in one table only.
home AS MATERIALIZED (SELECT home FROM old LIMIT 1),
removed AS (
    DELETE FROM {schema}.event e
    WHERE e.ctid = ANY (ARRAY(SELECT place FROM old WHERE old.home = (SELECT home FROM home)))
      AND e.tableoid = (SELECT home FROM home) AND e.position >= $1 AND e.position < $2
    RETURNING 1)
SELECT (SELECT count(*) FROM removed) AS removed, (SELECT count(*) FROM old_or_young WHERE NOT is_old) AS young
