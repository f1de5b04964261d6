-- The broadcast handlers that live processes have, and how many have each. $1 group (null: every group), $2 rows at most.
SELECT b.name, g.name AS group_name, b.selects, b.audit, count(*) AS processes
FROM {schema}.worker w
JOIN {schema}.consumer_group g ON g.id = w.group_id
CROSS JOIN LATERAL jsonb_to_recordset(w.broadcasts) AS b(name text, selects text, audit boolean)
WHERE w.lease_until > clock_timestamp() AND ($1::text IS NULL OR g.name = $1)
GROUP BY g.name, b.name, b.selects, b.audit
ORDER BY g.name, b.name, b.selects, b.audit
LIMIT $2
