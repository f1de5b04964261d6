-- The group's place in every partition of every lane, from now on, unless it has one. $1 group, $2 lanes, $3 partitions.
INSERT INTO {schema}.cursor_log (group_id, lane, partition, seq, seen)
SELECT $1, lane, number::smallint, 0, pg_current_snapshot()
FROM unnest($2::smallint[]) AS lane CROSS JOIN generate_series(0, $3::int - 1) AS p(number)
WHERE NOT EXISTS (
    SELECT FROM {schema}.cursor_log c WHERE c.group_id = $1 AND c.lane = lane AND c.partition = number::smallint)
ON CONFLICT DO NOTHING
