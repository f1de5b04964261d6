-- The newest actions of operators. $1 limit, $2 the tenants of the reader (null: all), who sees what concerned nobody else.
SELECT id, action, actor, target, details::text AS details, acted_at
FROM {schema}.operator_action
WHERE $2::text[] IS NULL OR (tenants <> '{}' AND tenants <@ $2)
ORDER BY acted_at DESC, id DESC LIMIT $1
