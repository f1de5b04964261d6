-- The names of a group's pools: those of its jobs and its live processes, and those that somebody has said something of. $1 group.
SELECT j.pool AS name FROM {schema}.job j WHERE j.group_id = $1
UNION
SELECT jsonb_object_keys(w.pools) FROM {schema}.worker w WHERE w.group_id = $1 AND w.lease_until > clock_timestamp()
UNION
SELECT p.name FROM {schema}.pool p WHERE p.group_id = $1
ORDER BY name
