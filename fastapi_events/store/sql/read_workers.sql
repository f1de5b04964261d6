-- The processes, those alive first, the newest first among them. $1 group (null: every group), $2 rows
-- at most.
SELECT w.id, g.name AS group_name, w.host, w.pid, w.drains, w.release, cardinality(w.handlers) AS handlers, w.connections,
       w.wake_up, w.started_at, w.lease_until, w.stale_settles, jsonb_array_length(w.broadcasts) AS broadcasts,
       w.broadcast_failures, w.broadcast_skipped, w.lease_until > clock_timestamp() AS alive,
       clock_timestamp() AS moment
FROM {schema}.worker w
JOIN {schema}.consumer_group g ON g.id = w.group_id
WHERE $1::text IS NULL OR g.name = $1
ORDER BY w.lease_until > clock_timestamp() DESC, w.lease_until DESC, w.id
LIMIT $2
