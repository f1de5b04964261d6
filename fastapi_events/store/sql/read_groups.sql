-- Consumer groups by name, those that an operator has removed last: their handlers in use, and their live processes.
-- $1 rows at most.
SELECT g.name, g.created_at, g.removed_at, g.paused_lanes,
       (SELECT count(*) FROM {schema}.handler h WHERE h.group_id = g.id AND h.retired_at IS NULL) AS handlers,
       (SELECT count(*) FROM {schema}.worker w
        WHERE w.group_id = g.id AND w.lease_until > clock_timestamp()) AS processes
FROM {schema}.consumer_group g
ORDER BY g.removed_at IS NOT NULL, g.name
LIMIT $1
