-- Seconds until the next run is due, or a lease is over; null if there is none. $1 look-back in seconds (null: everything).
SELECT extract(epoch FROM p.due_at - clock_timestamp())::float8 AS seconds
FROM {schema}.run_queue p
WHERE p.due_at IS NOT NULL AND p.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $1), '-infinity'))
ORDER BY p.due_at
LIMIT 1
