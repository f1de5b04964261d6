-- The group's handlers, and what keeps each from being called. $1 group.
SELECT h.id, h.name, h.former_names, h.selects, h.ordered, h.on_dead, h.started_after::text AS started_after, h.revision,
       h.retired_at IS NOT NULL AS retired, h.paused_at IS NOT NULL AS paused,
       extract(epoch FROM b.probe_at - clock_timestamp())::float8 AS probe_in
FROM {schema}.handler h
LEFT JOIN {schema}.breaker b ON b.handler_id = h.id AND b.opened_at IS NOT NULL
WHERE h.group_id = $1
