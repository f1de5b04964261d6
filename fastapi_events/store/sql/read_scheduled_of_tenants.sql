-- The same as read_scheduled, of some tenants' events. $1 and $2 the last one seen (time and number; null: from the
-- beginning), $3 rows, $4 tenants.
SELECT e.*, clock_timestamp() AS moment
FROM unnest($4::text[]) AS t(id)
CROSS JOIN LATERAL (
    SELECT number, id, name, version, lane, aggregate, aggregate_id, tenant_id, correlation_id, causation_id, actor,
           occurred_at, scheduled_at, due_at
    FROM {schema}.scheduled_event
    WHERE tenant_id = t.id
      AND (due_at, number) > (coalesce($1::timestamptz, '-infinity'), coalesce($2::bigint, 0))
    ORDER BY tenant_id, due_at, number
    LIMIT $3) e
ORDER BY e.due_at, e.number
LIMIT $3
