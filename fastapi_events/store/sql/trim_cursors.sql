-- Old states of partitions, never the newest hundred. The newest is found per partition by one index entry.
WITH places AS MATERIALIZED (
    SELECT g.id AS group_id, lane.number AS lane, p.number::smallint AS partition, newest.seq
    FROM {schema}.consumer_group g
    CROSS JOIN unnest('{0,1,2}'::smallint[]) AS lane(number)
    CROSS JOIN {schema}.installation i
    CROSS JOIN LATERAL generate_series(0, i.partitions - 1) AS p(number)
    CROSS JOIN LATERAL (
        SELECT c.seq FROM {schema}.cursor_log c
        WHERE c.group_id = g.id AND c.lane = lane.number AND c.partition = p.number::smallint
        ORDER BY c.group_id DESC, c.lane DESC, c.partition DESC, c.seq DESC LIMIT 1) newest)
DELETE FROM {schema}.cursor_log c USING places
WHERE c.group_id = places.group_id AND c.lane = places.lane AND c.partition = places.partition
  AND c.seq < places.seq - 100
