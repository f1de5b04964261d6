-- Runs of one thing of the application's, the newest first, as the application sees them. $1 kind and $2 id of the thing, $3 its jobs,
-- $4 tenant (null: whosever), $5 below which number (null: from the newest), $6 how many. Others may call a thing of theirs the same.
SELECT r.id, r.number AS place FROM {schema}.run r
WHERE r.scope = $1 AND r.scope_id = $2 AND r.number < coalesce($5::bigint, 9223372036854775807)
  AND r.job_id = ANY ($3::integer[]) AND ($4::text IS NULL OR r.tenant_id = $4)
ORDER BY r.scope DESC, r.scope_id DESC, r.number DESC
LIMIT $6
