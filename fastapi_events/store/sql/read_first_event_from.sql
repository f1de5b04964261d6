-- The first event at or after a position: one index probe per lane and partition. $1 position, $2 number of partitions.
SELECT e.position, e.published_at
FROM generate_series(0, 3) AS lane(number)
CROSS JOIN generate_series(0, $2::int - 1) AS part(number)
CROSS JOIN LATERAL (
    SELECT f.position, f.published_at
    FROM {schema}.event f
    WHERE f.lane = lane.number::smallint AND f.partition = part.number::smallint AND f.position >= $1
    ORDER BY f.lane, f.partition, f.position
    LIMIT 1) e
ORDER BY e.position
LIMIT 1
