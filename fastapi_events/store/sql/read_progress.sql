-- How far each group is in each lane: events that it has not dealt with (counted up to a bound per partition), when the
-- oldest of them was published, and how many partitions are under lease. One probe for the newest cursor row of each
-- partition, and a few by transaction id for what came after it: by the index that begins with lane and partition as one
-- expression, for no other does it without reading the partition. $1 group (null: all), $2 the bound.
SELECT g.name AS group_name, g.id AS group_id, lane.number AS lane,
       count(c.partition) AS partitions,
       count(*) FILTER (WHERE c.lease_until > clock_timestamp()) AS leased,
       coalesce(sum(p.n), 0)::bigint AS pending,
       coalesce(bool_or(p.capped), false) AS capped,
       lane.number::smallint = ANY (g.paused_lanes) AS paused, min(p.oldest) AS oldest, clock_timestamp() AS moment
FROM {schema}.consumer_group g
CROSS JOIN {schema}.installation i
CROSS JOIN generate_series(0, 2) AS lane(number)
CROSS JOIN LATERAL generate_series(0, i.partitions - 1) AS part(number)
LEFT JOIN LATERAL (
    SELECT l.partition, l.seen, l.target, l.position, l.floor, l.remaining, l.lease_until
    FROM {schema}.cursor_log l
    WHERE l.group_id = g.id AND l.lane = lane.number::smallint AND l.partition = part.number::smallint
    ORDER BY l.group_id DESC, l.lane DESC, l.partition DESC, l.seq DESC
    LIMIT 1) c ON true
LEFT JOIN LATERAL (
    SELECT c.remaining + fresh.n + late.n AS n, fresh.n >= $2 OR late.n >= $2 AS capped,
           least(open.oldest, fresh.oldest, late.oldest, straggler.oldest) AS oldest
    -- Published after the last snapshot of the cursor.
    FROM (SELECT count(*) AS n, min(f.published_at) AS oldest
          FROM (SELECT e.published_at FROM {schema}.event e
                WHERE e.lane::integer * 1024 + e.partition = lane.number * 1024 + c.partition
                  AND e.xid >= pg_snapshot_xmax(coalesce(c.target, c.seen))
                ORDER BY e.lane::integer * 1024 + e.partition, e.xid, e.position
                LIMIT $2) f) fresh
    -- Committed late: their transactions were in progress in that snapshot.
    CROSS JOIN (SELECT count(e.position) AS n, min(e.published_at) AS oldest
                FROM pg_snapshot_xip(coalesce(c.target, c.seen)) AS x(xid)
                CROSS JOIN LATERAL (
                    SELECT l.position, l.published_at FROM {schema}.event l
                    WHERE l.lane::integer * 1024 + l.partition = lane.number * 1024 + c.partition AND l.xid = x.xid
                    ORDER BY l.lane::integer * 1024 + l.partition, l.xid, l.position
                    LIMIT $2) e) late
    -- Inside the open window, not reached yet: the first by position, and what was late when the window was opened.
    CROSS JOIN (SELECT (SELECT e.published_at FROM {schema}.event e
                        WHERE c.remaining > 0 AND e.lane = lane.number::smallint AND e.partition = c.partition
                          AND e.position > greatest(c.position, c.floor)
                          AND pg_visible_in_snapshot(e.xid, c.target) AND NOT pg_visible_in_snapshot(e.xid, c.seen)
                        ORDER BY e.lane, e.partition, e.position
                        LIMIT 1) AS oldest) open
    CROSS JOIN (SELECT min(e.published_at) AS oldest
                FROM pg_snapshot_xip(c.seen) AS x(xid)
                CROSS JOIN LATERAL (
                    SELECT l.published_at FROM {schema}.event l
                    WHERE l.lane::integer * 1024 + l.partition = lane.number * 1024 + c.partition AND l.xid = x.xid
                      AND l.position > c.position AND l.position <= c.floor
                    ORDER BY l.lane::integer * 1024 + l.partition, l.xid, l.position
                    LIMIT $2) e
                WHERE c.remaining > 0 AND pg_visible_in_snapshot(x.xid, c.target)) straggler) p ON c.partition IS NOT NULL
WHERE $1::text IS NULL OR g.name = $1
GROUP BY g.id, g.name, lane.number
ORDER BY g.name, lane.number
