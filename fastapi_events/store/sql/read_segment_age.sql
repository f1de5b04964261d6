-- The first and the last position of a stretch of the log that hold an event, and when the oldest and the newest of the
-- events at either end were published, in seconds before now; nulls if it is empty. One index entry from either end of
-- each lane and partition. $1 lowest position, $2 position after the highest.
SELECT min(f.position) AS first, max(l.position) AS last,
       extract(epoch FROM clock_timestamp() - min(least(f.published_at, l.published_at)))::float8 AS oldest,
       extract(epoch FROM clock_timestamp() - max(greatest(f.published_at, l.published_at)))::float8 AS newest
FROM {schema}.installation i
CROSS JOIN generate_series(0, 3) AS lane(number)
CROSS JOIN LATERAL generate_series(0, i.partitions - 1) AS part(number)
CROSS JOIN LATERAL (
    SELECT e.position, e.published_at FROM {schema}.event e
    WHERE e.lane = lane.number::smallint AND e.partition = part.number::smallint
      AND e.position >= $1 AND e.position < $2
    ORDER BY e.lane, e.partition, e.position
    LIMIT 1) f
CROSS JOIN LATERAL (
    SELECT e.position, e.published_at FROM {schema}.event e
    WHERE e.lane = lane.number::smallint AND e.partition = part.number::smallint
      AND e.position >= $1 AND e.position < $2
    ORDER BY e.lane DESC, e.partition DESC, e.position DESC
    LIMIT 1) l
