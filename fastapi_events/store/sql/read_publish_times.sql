-- The first event at or after each of some positions: samples of when the log was written, at the price of one index
-- probe per lane and partition each. $1 positions, $2 number of partitions.
SELECT p.position AS asked, e.position, e.published_at
FROM unnest($1::bigint[]) AS p(position)
CROSS JOIN LATERAL (
    SELECT n.position, n.published_at
    FROM generate_series(0, 3) AS lane(number)
    CROSS JOIN generate_series(0, $2::int - 1) AS part(number)
    CROSS JOIN LATERAL (
        SELECT f.position, f.published_at
        FROM {schema}.event f
        WHERE f.lane = lane.number::smallint AND f.partition = part.number::smallint AND f.position >= p.position
        ORDER BY f.lane, f.partition, f.position
        LIMIT 1) n
    ORDER BY n.position
    LIMIT 1) e
ORDER BY p.position
