-- Runs of tenants, the newest first. $1 tenants, $2 below which number (null: from the newest), $3 how many.
SELECT found.id, found.number AS place
FROM unnest($1::text[]) AS t(id)
CROSS JOIN LATERAL (
    SELECT r.id, r.number FROM {schema}.run r
    WHERE r.tenant_id = t.id AND r.number < coalesce($2::bigint, 9223372036854775807)
    ORDER BY r.tenant_id DESC, r.number DESC
    LIMIT $3) found
ORDER BY found.number DESC
LIMIT $3
