-- Where groups have got to: the newest row of each partition asked for. $1 groups, $2 lanes, $3 partitions.
SELECT c.*
FROM unnest($1::integer[], $2::smallint[], $3::smallint[]) AS w(group_id, lane, partition)
CROSS JOIN LATERAL (
    SELECT l.group_id, l.lane, l.partition, l.seen::text AS seen, l.target::text AS target, l.position
    FROM {schema}.cursor_log l
    WHERE l.group_id = w.group_id AND l.lane = w.lane AND l.partition = w.partition
    ORDER BY l.group_id DESC, l.lane DESC, l.partition DESC, l.seq DESC
    LIMIT 1) c
