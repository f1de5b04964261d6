-- The newest attempts of some deliveries, oldest first. $1 deliveries, $2 attempts at most of each.
SELECT a.*
FROM unnest($1::uuid[]) AS d(id)
CROSS JOIN LATERAL (
    SELECT t.delivery_id, t.number, t.outcome, t.error_type, t.error_message, t.traceback, t.worker_id, t.duration,
           t.finished_at
    FROM {schema}.attempt t
    WHERE t.delivery_id = d.id
    ORDER BY t.delivery_id DESC, t.finished_at DESC
    LIMIT $2) a
ORDER BY a.delivery_id, a.finished_at, a.number
