-- Inputs of a run that were replaced, the first first. $1 run, $2 how many at most.
SELECT e.action_id, e.edited_at, e.input::text AS input, a.actor
FROM {schema}.run_edit e LEFT JOIN {schema}.operator_action a ON a.id = e.action_id
WHERE e.run_id = $1
ORDER BY e.run_id, e.edited_at
LIMIT $2
