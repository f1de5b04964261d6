-- Appends one event whose id is fresh and that carries its payload in several versions: append_event with their column,
-- which all others are spared. EventLog repeats the row for a few events at once.
-- xid and position are left to their defaults, which are evaluated in that order: the transaction has its id before
-- a position is drawn, and sealing a segment of the log relies on it.
INSERT INTO {schema}.event (lane, partition, name, version, depth, id, correlation_id, causation_id, occurred_at,
                            aggregate, aggregate_id, key, tenant_id, actor, headers,
                            other_versions, payload)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15::text::jsonb, $16::text::jsonb,
        $17::text::jsonb)
