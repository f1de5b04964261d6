-- The schedule, what is due first. $1 and $2 the last one seen (time and number; null: from the beginning), $3 rows.
SELECT number, id, name, version, lane, aggregate, aggregate_id, tenant_id, correlation_id, causation_id, actor,
       occurred_at, scheduled_at, due_at, clock_timestamp() AS moment
FROM {schema}.scheduled_event
WHERE (due_at, number) > (coalesce($1::timestamptz, '-infinity'), coalesce($2::bigint, 0))
ORDER BY due_at, number
LIMIT $3
