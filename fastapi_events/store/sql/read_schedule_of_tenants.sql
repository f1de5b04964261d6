-- The same as read_schedule, of some tenants' events: as many as are asked for of each, so that of many events of others
-- none is read. $1 limit, $2 tenants.
SELECT count(s.due_at) AS scheduled, count(*) FILTER (WHERE s.due_at <= now.moment) AS overdue,
       min(s.due_at) FILTER (WHERE s.due_at <= now.moment) AS oldest_due, now.moment
FROM (SELECT clock_timestamp() AS moment) now
LEFT JOIN LATERAL (
    SELECT e.due_at
    FROM unnest($2::text[]) AS t(id)
    CROSS JOIN LATERAL (
        SELECT due_at FROM {schema}.scheduled_event
        WHERE tenant_id = t.id
        ORDER BY tenant_id, due_at, number
        LIMIT $1) e
    ORDER BY e.due_at
    LIMIT $1) s ON true
GROUP BY now.moment
