-- The newest events inside ranges of positions, one range per lane and partition, that pass every filter given.
-- Reading by the primary key costs the same at the log's tail, where no block-range summary exists yet, as anywhere.
--
-- $1..$4 ranges: lane, partition, lowest and highest position; $5 rows at most; then the filters, null for none:
-- $6 name (LIKE), $7 aggregate, $8 aggregate id, $9 tenant, $10 correlation, $11 causation, $12 actor, $13 ordering key,
-- $14 published at or after, $15 published before, $16 payload values: a JSON array of {path, value}, $17 the tenants
-- whose events the reader may see, $18 id.
SELECT e.*
FROM unnest($1::smallint[], $2::smallint[], $3::bigint[], $4::bigint[]) AS r(lane, partition, low, high)
CROSS JOIN LATERAL (
    SELECT f.position, f.lane, f.partition, f.xid::text::bigint AS xid, f.id, f.name, f.version, f.depth, f.aggregate,
           f.aggregate_id, f.key, f.tenant_id, f.actor, f.correlation_id, f.causation_id, f.occurred_at, f.published_at
    FROM {schema}.event f
    WHERE f.lane = r.lane AND f.partition = r.partition AND f.position >= r.low AND f.position <= r.high
      AND ($6::text IS NULL OR f.name LIKE $6)
      AND ($7::text IS NULL OR f.aggregate = $7)
      AND ($8::text IS NULL OR f.aggregate_id = $8)
      AND ($9::text IS NULL OR f.tenant_id = $9)
      AND ($17::text[] IS NULL OR f.tenant_id = ANY ($17))
      AND ($18::uuid IS NULL OR f.id = $18)
      AND ($10::uuid IS NULL OR f.correlation_id = $10)
      AND ($11::uuid IS NULL OR f.causation_id = $11)
      AND ($12::text IS NULL OR f.actor = $12)
      AND ($13::text IS NULL OR f.key = $13)
      AND ($14::timestamptz IS NULL OR f.published_at >= $14)
      AND ($15::timestamptz IS NULL OR f.published_at < $15)
      AND ($16::jsonb IS NULL OR NOT EXISTS (
          SELECT FROM jsonb_to_recordset($16::jsonb) AS p(path text[], value text)
          WHERE f.payload #>> p.path IS DISTINCT FROM p.value))
    ORDER BY f.lane DESC, f.partition DESC, f.position DESC
    LIMIT $5) e
ORDER BY e.position DESC
LIMIT $5
