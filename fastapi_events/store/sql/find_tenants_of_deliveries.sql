-- Whose some deliveries are; the empty text stands for those of no tenant. $1 ids.
SELECT DISTINCT coalesce(d.tenant_id, '') AS tenant
FROM unnest($1::uuid[]) AS i(id)
CROSS JOIN LATERAL (SELECT x.tenant_id FROM {schema}.delivery x WHERE x.id = i.id LIMIT 1) d
ORDER BY 1
