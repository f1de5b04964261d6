-- The events that this transaction has appended and not yet committed, in position order: for a test that handles them
-- inside it. $1 partitions. By place, as the index has it, so that however long the log is only its own rows are read.
SELECT e.position, e.lane, e.partition, e.name, e.version, e.depth, e.id, e.correlation_id, e.causation_id,
       e.occurred_at, e.aggregate, e.aggregate_id, e.key, e.tenant_id, e.actor, e.published_at,
       e.headers::text AS headers, e.payload::text AS payload, e.other_versions::text AS other_versions
FROM {schema}.event e
WHERE (e.lane::integer * 1024 + e.partition) = ANY (ARRAY(
          SELECT l * 1024 + p FROM generate_series(0, 2) l, generate_series(0, $1::text::integer - 1) p))
  AND e.xid = pg_current_xact_id_if_assigned()
ORDER BY e.position
