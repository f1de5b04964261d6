-- Runs that another run has spawned, the newest first. $1 the run, $2 below which number (null: from the newest), $3 how many.
SELECT r.id, r.number AS place FROM {schema}.run r
WHERE r.parent_id = $1 AND r.number < coalesce($2::bigint, 9223372036854775807)
ORDER BY r.parent_id DESC, r.number DESC
LIMIT $3
