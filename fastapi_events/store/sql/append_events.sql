-- Appends events whose ids are fresh. $1: a JSON array of rows, in publishing order.
INSERT INTO {schema}.event (lane, partition, name, version, depth, id, correlation_id, causation_id, occurred_at,
                            aggregate, aggregate_id, key, tenant_id, actor, headers,
                            other_versions, payload)
SELECT lane, partition, name, version, depth, id, correlation_id, causation_id, occurred_at,
       aggregate, aggregate_id, key, tenant_id, actor, headers, other_versions,
       payload
FROM jsonb_to_recordset($1::text::jsonb) AS r(
    lane smallint, partition smallint, name text, version smallint, depth smallint, id uuid, correlation_id uuid,
    causation_id uuid, occurred_at timestamptz, aggregate text, aggregate_id text, key text, tenant_id text,
    actor text, headers jsonb, other_versions jsonb, payload jsonb)
