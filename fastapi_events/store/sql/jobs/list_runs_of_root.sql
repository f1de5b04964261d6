-- The runs of one tree, the newest first. $1 the run that it began with, $2 below which number (null: from the newest), $3 how many.
(SELECT r.id, r.number AS place FROM {schema}.run r
 WHERE r.root_id = $1 AND r.number < coalesce($2::bigint, 9223372036854775807)
 ORDER BY r.root_id DESC, r.number DESC
 LIMIT $3)
UNION
SELECT r.id, r.number FROM {schema}.run r
WHERE r.id = $1 AND r.number < coalesce($2::bigint, 9223372036854775807)
ORDER BY place DESC
LIMIT $3
