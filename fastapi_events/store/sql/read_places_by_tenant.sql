-- Where the newest events of some tenants are in the log. $1 tenants, $2 below this position, $3 rows.
SELECT e.lane, e.partition, e.position
FROM unnest($1::text[]) AS t(id)
CROSS JOIN LATERAL (
    SELECT f.lane, f.partition, f.position FROM {schema}.event f
    WHERE f.tenant_id = t.id AND f.position < $2
    ORDER BY f.tenant_id DESC, f.position DESC
    LIMIT $3) e
ORDER BY e.position DESC
LIMIT $3
