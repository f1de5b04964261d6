-- How many events are scheduled (counted up to $1), how many of them are overdue, and since when.
SELECT count(s.due_at) AS scheduled, count(*) FILTER (WHERE s.due_at <= now.moment) AS overdue,
       min(s.due_at) FILTER (WHERE s.due_at <= now.moment) AS oldest_due, now.moment
FROM (SELECT clock_timestamp() AS moment) now
LEFT JOIN LATERAL (SELECT due_at FROM {schema}.scheduled_event ORDER BY due_at, number LIMIT $1) s ON true
GROUP BY now.moment
