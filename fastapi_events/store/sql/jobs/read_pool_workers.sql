-- The pools of live processes. $1 group (null: every group), $2 rows at most.
SELECT g.name AS group_name, p.pool, p.concurrency::integer AS concurrency, w.id, w.host, w.pid
FROM {schema}.worker w
JOIN {schema}.consumer_group g ON g.id = w.group_id
CROSS JOIN LATERAL jsonb_each_text(w.pools) AS p(pool, concurrency)
WHERE w.lease_until > clock_timestamp() AND ($1::text IS NULL OR g.name = $1)
ORDER BY g.name, p.pool, w.host, w.pid, w.id
LIMIT $2
