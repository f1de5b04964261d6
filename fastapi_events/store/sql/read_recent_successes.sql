-- How long the newest batches of each group and lane took from publishing to done, by the last event of each: a sample.
-- $1 batches per group and lane, $2 number of partitions, $3 group (null: every group).
SELECT g.name AS group_name, lane.number AS lane, b.finished_at,
       extract(epoch FROM b.finished_at - e.published_at)::float8 AS latency
FROM {schema}.consumer_group g
CROSS JOIN generate_series(0, 2) AS lane(number)
CROSS JOIN LATERAL (
    SELECT s.last_position, s.finished_at FROM {schema}.success_batch s
    WHERE s.group_id = g.id AND s.lane = lane.number::smallint
    ORDER BY s.group_id DESC, s.lane DESC, s.last_position DESC
    LIMIT $1) b
CROSS JOIN LATERAL (
    SELECT f.published_at
    FROM generate_series(0, $2::int - 1) AS part(number)
    JOIN {schema}.event f
        ON f.lane = lane.number::smallint AND f.partition = part.number::smallint AND f.position = b.last_position
    LIMIT 1) e
WHERE $3::text IS NULL OR g.name = $3
