-- Runs: as they were started, where they are, and how they ended. $1 ids; they are looked for one by one, or by all of them, so that an index
-- finds them in whichever order the planner joins. The error is that of the end; of a run that is under way, that of its last attempt,
-- if it has failed in this life of the run.
SELECT r.id, r.number, j.name AS job, j.pool, g.name AS group_name, r.priority, r.depth, r.created_at, r.source, r.source_ref,
       r.parent_id, r.root_id, r.on_parent_close, r.correlation_id, r.causation_id, r.tenant_id, r.actor, r.scope,
       r.scope_id, r.tags, r.input::text AS input,
       CASE WHEN e.run_id IS NOT NULL THEN e.state WHEN q.state = 'x' THEN 'running' ELSE 'pending' END AS state,
       coalesce(e.attempts, q.attempts) AS attempts, coalesce(e.redrives, q.redrives) AS redrives,
       CASE WHEN q.state = 't' THEN q.due_at END AS due_at, q.crashes, q.cancel_reason,
       coalesce(e.worker_id, q.worker_id) AS worker_id,
       e.reason, e.note, CASE WHEN e.expires_at > clock_timestamp() THEN e.result::text END AS result,
       e.expires_at <= clock_timestamp() AS expired, coalesce(e.error_type, a.error_type) AS error_type,
       coalesce(e.error_message, a.error_message) AS error_message, e.fingerprint, e.duration, e.finished_at
FROM unnest($1::uuid[]) AS i(id)
CROSS JOIN LATERAL (SELECT n.* FROM {schema}.run n WHERE n.id = i.id LIMIT 1) r
JOIN {schema}.job j ON j.id = r.job_id
JOIN {schema}.consumer_group g ON g.id = j.group_id
LEFT JOIN {schema}.run_queue q ON q.run_id = r.id AND q.run_id = ANY ($1::uuid[])
LEFT JOIN {schema}.run_end e ON e.run_id = r.id AND e.run_id = ANY ($1::uuid[])
LEFT JOIN LATERAL (
    SELECT n.error_type, n.error_message FROM {schema}.run_attempt n
    WHERE n.run_id = q.run_id AND e.run_id IS NULL AND (q.attempts > q.attempts_before OR q.postponed > 0)
    ORDER BY n.run_id DESC, n.finished_at DESC LIMIT 1) a ON true
