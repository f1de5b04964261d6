-- What operators did, newest first. $1 and $2 the last one seen (time and id; null: from the newest), $3 rows at most.
SELECT id, action, actor, target, details::text AS details, acted_at
FROM {schema}.operator_action
WHERE $1::timestamptz IS NULL OR (acted_at, id) < ($1, $2::uuid)
ORDER BY acted_at DESC, id DESC
LIMIT $3
