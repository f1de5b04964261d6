-- Seconds until the next parked key of these handlers is due; null if none is. $1 handlers, $2 look-back in seconds,
-- $3 lanes that are paused.
SELECT extract(epoch FROM min(due.due_at) - clock_timestamp())::float8 AS seconds
FROM unnest($1::integer[]) AS h(id)
CROSS JOIN LATERAL (
    SELECT p.due_at FROM {schema}.parked_key p
    WHERE p.handler_id = h.id AND p.blocked AND p.due_at < 'infinity' AND p.lane <> ALL ($3::smallint[])
      AND p.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $2), '-infinity'))
    ORDER BY p.handler_id, p.due_at
    LIMIT 1) due
