-- Appends one event whose id is fresh and whose flow is empty: append_event without the columns that are null for it.
INSERT INTO {schema}.event (lane, partition, name, version, depth, id, correlation_id, occurred_at, aggregate,
                            aggregate_id, key, payload)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb)
