-- How many events of some tenants were published in each minute since a moment: no look at anybody else's.
-- $1 tenants, $2 from this position on, $3 events at most of each tenant, the newest, $4 the moment.
SELECT floor(extract(epoch FROM e.published_at - $4::timestamptz) / 60)::integer AS minute, count(*) AS published
FROM unnest($1::text[]) AS t(id)
CROSS JOIN LATERAL (
    SELECT f.published_at FROM {schema}.event f
    WHERE f.tenant_id = t.id AND f.position >= $2
    ORDER BY f.tenant_id DESC, f.position DESC
    LIMIT $3) e
GROUP BY 1
