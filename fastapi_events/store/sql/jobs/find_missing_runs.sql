-- Which of some runs are not there for whoever asks: another group's, another tenant's, or none at all, which shall look alike.
-- $1 ids, $2 group, $3 tenants (null: all).
SELECT i.id
FROM unnest($1::uuid[]) WITH ORDINALITY AS i(id, number)
LEFT JOIN LATERAL (
    SELECT r.id FROM {schema}.run r JOIN {schema}.job j ON j.id = r.job_id
    WHERE r.id = i.id AND j.group_id = $2 AND ($3::text[] IS NULL OR r.tenant_id = ANY ($3)) LIMIT 1) r ON true
WHERE r.id IS NULL
ORDER BY i.number
LIMIT 1
