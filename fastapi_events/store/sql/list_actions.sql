-- The newest actions of operators. $1 limit.
SELECT id, action, actor, target, details::text AS details, acted_at
FROM {schema}.operator_action ORDER BY acted_at DESC, id DESC LIMIT $1
