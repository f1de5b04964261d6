-- One event with its content, as text: the numbers in it stay exact. $1 lane, $2 partition, $3 position,
-- $4 the tenants whose events the reader may see (null: all).
SELECT e.position, e.lane, e.partition, e.xid::text::bigint AS xid, e.id, e.name, e.version, e.depth, e.aggregate,
       e.aggregate_id, e.key, e.tenant_id, e.actor, e.correlation_id, e.causation_id, e.occurred_at, e.published_at,
       e.headers::text AS headers, e.payload::text AS payload, e.other_versions::text AS other_versions
FROM {schema}.event e
WHERE e.lane = $1 AND e.partition = $2 AND e.position = $3
  AND ($4::text[] IS NULL OR e.tenant_id = ANY ($4))
