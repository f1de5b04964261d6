-- How many seconds ago the log reached a position: by the first event at or after it, one index probe per lane and
-- partition. $1 position.
SELECT extract(epoch FROM clock_timestamp() - e.published_at)::float8 AS seconds
FROM {schema}.installation i
CROSS JOIN generate_series(0, 3) AS lane(number)
CROSS JOIN LATERAL generate_series(0, i.partitions - 1) AS part(number)
CROSS JOIN LATERAL (
    SELECT f.position, f.published_at FROM {schema}.event f
    WHERE f.lane = lane.number::smallint AND f.partition = part.number::smallint AND f.position >= $1
    ORDER BY f.lane, f.partition, f.position
    LIMIT 1) e
ORDER BY e.position
LIMIT 1
