-- Runs of one thing of the application's, the newest first. $1 kind and $2 id of the thing, $3 below which number (null: from the
-- newest), $4 how many.
SELECT r.id, r.number AS place FROM {schema}.run r
WHERE r.scope = $1 AND r.scope_id = $2 AND r.number < coalesce($3::bigint, 9223372036854775807)
ORDER BY r.scope DESC, r.scope_id DESC, r.number DESC
LIMIT $4
