-- The group's handlers, and what keeps each from being called live: also a replay that gives an ordered one the history with
-- which it begins. $1 group.
SELECT h.id, h.name, h.former_names, h.selects, h.ordered, h.on_dead, h.job, h.started_after::text AS started_after, h.revision,
       h.retired_at IS NOT NULL AS retired, h.paused_at IS NOT NULL AS paused,
       extract(epoch FROM b.probe_at - clock_timestamp())::float8 AS probe_in,
       r.id AS catching_up
FROM {schema}.handler h
LEFT JOIN {schema}.breaker b ON b.handler_id = h.id AND b.opened_at IS NOT NULL
LEFT JOIN {schema}.replay r ON r.handler_id = h.id AND r.state IN ('running', 'paused') AND r.starts AND h.ordered
WHERE h.group_id = $1
