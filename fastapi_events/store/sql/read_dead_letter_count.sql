-- How many dead letters match, counted up to a bound. $1 dead before (null: now), $2 handler, $3 event name,
-- $4 fingerprint, $5 group (null: any), $6 the bound, $7 tenants (null: all).
SELECT count(*) AS matching, clock_timestamp() AS moment
FROM (SELECT FROM {schema}.delivery d
      JOIN {schema}.handler h ON h.id = d.handler_id
      JOIN {schema}.consumer_group g ON g.id = h.group_id
      WHERE d.state = 'dead'
        AND d.changed_at < coalesce($1::timestamptz, 'infinity')
        AND ($2::text IS NULL OR h.name = $2)
        AND ($3::text IS NULL OR d.event_name = $3)
        AND ($4::text IS NULL OR d.fingerprint = $4)
        AND ($5::text IS NULL OR g.name = $5)
        AND ($7::text[] IS NULL OR d.tenant_id = ANY ($7))
      LIMIT $6) m
