-- What runs of a schedule are given. $1 group, $2 the schedule's name.
SELECT s.id, s.name, s.job_id, s.priority, s.scope, s.scope_id, s.input::text AS input, s.limits::text AS limits
FROM {schema}.schedule s
WHERE s.group_id = $1 AND s.name = $2
