-- The batches in which groups were done with one event. Batches overlap, so those that end at or after it are looked
-- at in order, so many and no more. $1 groups, $2 lane, $3 position, $4 batches to look at per group.
SELECT b.handler_ids, b.worker_id, b.started_at, b.finished_at, b.note
FROM unnest($1::integer[]) AS g(id)
CROSS JOIN LATERAL (
    SELECT s.* FROM {schema}.success_batch s
    WHERE s.group_id = g.id AND s.lane = $2 AND s.last_position >= $3
    ORDER BY s.group_id, s.lane, s.last_position
    LIMIT $4) b
WHERE b.first_position <= $3 AND $3 = ANY (b.positions)
