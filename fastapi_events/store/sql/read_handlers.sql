-- The handlers, what keeps each from being called, and how many live processes have it. $1 group (null: every group), $2 handlers at most.
SELECT h.id, h.name, h.selects, h.ordered, h.on_dead, h.job, h.started_after::text AS started_after, h.registered_at,
       h.last_seen_at, h.retired_at, h.paused_at, b.opened_at AS breaker_opened_at, h.group_id, g.name AS group_name,
       r.created_at AS catching_up_since,
       (SELECT count(*) FROM {schema}.worker w
        WHERE w.group_id = h.group_id AND w.lease_until > clock_timestamp() AND w.drains AND h.id = ANY (w.handlers))
           AS processes
FROM {schema}.handler h
JOIN {schema}.consumer_group g ON g.id = h.group_id
LEFT JOIN {schema}.breaker b ON b.handler_id = h.id
LEFT JOIN {schema}.replay r ON r.handler_id = h.id AND r.state IN ('running', 'paused') AND r.starts
WHERE $1::text IS NULL OR g.name = $1
ORDER BY g.name, h.name
LIMIT $2
