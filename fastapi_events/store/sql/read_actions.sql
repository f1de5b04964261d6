-- What operators did, newest first. $1 and $2 the last one seen (time and id; null: from the newest), $3 rows at most,
-- $4 the tenants of the reader (null: all), who sees what concerned nobody else.
SELECT id, action, actor, target, details::text AS details, acted_at
FROM {schema}.operator_action
WHERE ($1::timestamptz IS NULL OR (acted_at, id) < ($1, $2::uuid))
  AND ($4::text[] IS NULL OR (tenants <> '{}' AND tenants <@ $4))
ORDER BY acted_at DESC, id DESC
LIMIT $3
