-- How many events of one partition a replay would be of, and which are the first and the last. $1 lane, $2 partition,
-- $3 from and $4 to which position, $5 seen, $6 target and $7 position of the group's cursor, $8 snapshot that the handler
-- started after, then the filters, null for none: $9 names, $10 names as a regular expression, $11 aggregate, $12 its id,
-- $13 ordering key, $14 tenants, $15 correlation, $16 published at or after, $17 before; $18 where counting stops.
SELECT count(*) AS events, min(e.position) AS first_position, max(e.position) AS last_position,
       min(e.published_at) AS first_at, max(e.published_at) AS last_at
FROM (SELECT f.position, f.published_at FROM {schema}.event f
      WHERE f.lane = $1 AND f.partition = $2 AND f.position >= $3 AND f.position <= $4
        AND (pg_visible_in_snapshot(f.xid, $5::text::pg_snapshot)
             OR ($6::text IS NOT NULL AND f.position <= $7 AND pg_visible_in_snapshot(f.xid, $6::text::pg_snapshot))
             OR ($8::text IS NOT NULL AND pg_visible_in_snapshot(f.xid, $8::text::pg_snapshot)))
        AND ($9::text[] IS NULL OR f.name = ANY ($9)) AND ($10::text IS NULL OR f.name ~ $10)
        AND ($11::text IS NULL OR f.aggregate = $11) AND ($12::text IS NULL OR f.aggregate_id = $12)
        AND ($13::text IS NULL OR f.key = $13) AND ($14::text[] IS NULL OR f.tenant_id = ANY ($14))
        AND ($15::uuid IS NULL OR f.correlation_id = $15)
        AND ($16::timestamptz IS NULL OR f.published_at >= $16) AND ($17::timestamptz IS NULL OR f.published_at < $17)
      ORDER BY f.lane, f.partition, f.position
      LIMIT $18) e
