-- The groups that have still to read something of a range of the log, each with the first such event that is found, and
-- whether it has paused a lane in which there is one.
-- $1 lowest position, $2 position after the highest.
--
-- A group counts while it has a handler that is not retired. Two probes per partition say it: the first event of a
-- transaction that began after the cursor's snapshot, and the first of each that was in progress in it. What an open
-- window has dealt with already is found too, until the window closes: too much is kept then, never too little.
SELECT g.name, min(u.position) AS position, min(u.published_at) AS published_at,
       bool_or(lane.number::smallint = ANY (g.paused_lanes)) AS paused, clock_timestamp() AS moment
FROM {schema}.consumer_group g
CROSS JOIN {schema}.installation i
CROSS JOIN generate_series(0, 3) AS lane(number)
CROSS JOIN LATERAL generate_series(0, i.partitions - 1) AS part(number)
CROSS JOIN LATERAL (
    SELECT l.seen FROM {schema}.cursor_log l
    WHERE l.group_id = g.id AND l.lane = lane.number::smallint AND l.partition = part.number::smallint
    ORDER BY l.group_id DESC, l.lane DESC, l.partition DESC, l.seq DESC
    LIMIT 1) c
CROSS JOIN LATERAL (
    (SELECT e.position, e.published_at
     FROM {schema}.event e
     WHERE e.lane::integer * 1024 + e.partition = lane.number * 1024 + part.number
       AND e.xid >= pg_snapshot_xmax(c.seen) AND e.position >= $1 AND e.position < $2
     ORDER BY e.lane::integer * 1024 + e.partition, e.xid, e.position
     LIMIT 1)
    UNION ALL
    (SELECT late.position, late.published_at
     FROM pg_snapshot_xip(c.seen) AS x(xid)
     CROSS JOIN LATERAL (
         SELECT l.position, l.published_at FROM {schema}.event l
         WHERE l.lane::integer * 1024 + l.partition = lane.number * 1024 + part.number AND l.xid = x.xid
           AND l.position >= $1 AND l.position < $2
         ORDER BY l.lane::integer * 1024 + l.partition, l.xid, l.position
         LIMIT 1) late
     LIMIT 1)) u
WHERE EXISTS (SELECT FROM {schema}.handler h WHERE h.group_id = g.id AND h.retired_at IS NULL)
GROUP BY g.name
ORDER BY min(u.published_at)
