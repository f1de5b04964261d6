-- Whose runs these are; the empty text stands for what belongs to no tenant. $1 ids.
SELECT DISTINCT coalesce(r.tenant_id, '') AS tenant FROM {schema}.run r WHERE r.id = ANY ($1::uuid[])
