-- Which of some deliveries are not there for people of some tenants: another tenant's, nobody's, or none at all, which
-- shall look alike. $1 ids, $2 tenants.
SELECT i.id
FROM unnest($1::uuid[]) WITH ORDINALITY AS i(id, number)
LEFT JOIN LATERAL (
    SELECT d.tenant_id FROM {schema}.delivery d WHERE d.id = i.id LIMIT 1) d ON true
WHERE d.tenant_id IS NULL OR d.tenant_id <> ALL ($2::text[])
ORDER BY i.number
LIMIT 1
