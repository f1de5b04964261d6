-- Seconds until the next scheduled event is due, not above zero if one is. $1: how far back to look in seconds (null:
-- all), so that the dead index entries of what has been appended since are not walked.
SELECT extract(epoch FROM s.due_at - clock_timestamp())::float8 AS seconds
FROM {schema}.scheduled_event s
WHERE s.due_at >= (SELECT coalesce(clock_timestamp() - make_interval(secs => $1), '-infinity'))
ORDER BY s.due_at, s.number
LIMIT 1
