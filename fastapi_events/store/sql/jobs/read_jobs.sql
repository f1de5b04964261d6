-- The jobs, and how many live processes run each. $1 group (null: every group), $2 jobs at most.
SELECT j.id, j.name, j.former_names, j.pool, g.name AS group_name, j.registered_at, j.last_seen_at, j.paused_at,
       (SELECT count(*) FROM {schema}.worker w
        WHERE w.group_id = j.group_id AND w.lease_until > clock_timestamp() AND j.id = ANY (w.jobs)) AS processes
FROM {schema}.job j
JOIN {schema}.consumer_group g ON g.id = j.group_id
WHERE $1::text IS NULL OR g.name = $1
ORDER BY g.name, j.name
LIMIT $2
