-- Runs of one thing of the application's that have not ended, the oldest first. $1 kind and $2 id of the thing, $3 jobs, $4 tenant
-- (null: whosever), $5 above which number, $6 how many.
SELECT r.id, r.number FROM {schema}.run r
WHERE r.scope = $1 AND r.scope_id = $2 AND r.number > $5 AND r.job_id = ANY ($3::integer[])
  AND ($4::text IS NULL OR r.tenant_id = $4)
  AND EXISTS (SELECT FROM {schema}.run_queue q WHERE q.run_id = r.id)
ORDER BY r.scope, r.scope_id, r.number
LIMIT $6
