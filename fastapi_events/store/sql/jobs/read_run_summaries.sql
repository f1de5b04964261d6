-- Runs as a list shows them, without what is large. $1 ids. Each is looked up by itself: LIMIT keeps the planner from joining
-- whole tables that it believes to be small.
SELECT r.id, r.number, r.job_id, j.name AS job, j.pool, g.name AS group_name, r.priority, r.created_at, r.source, r.parent_id,
       coalesce(r.root_id, r.id) AS root_id, r.correlation_id, r.tenant_id, r.actor, r.scope, r.scope_id, r.tags,
       CASE WHEN e.run_id IS NOT NULL THEN e.state WHEN q.state = 'x' THEN 'running' ELSE 'pending' END AS state,
       coalesce(e.attempts, q.attempts, 0) AS attempts, coalesce(e.redrives, q.redrives, 0) AS redrives,
       CASE WHEN q.state = 't' THEN q.due_at END AS due_at, q.state::text AS queued, q.crashes, q.cancel_reason,
       coalesce(e.worker_id, q.worker_id) AS worker_id, e.reason, e.note, e.error_type, e.error_message, e.fingerprint,
       e.duration, e.finished_at, e.discarded_at, j.paused_at IS NOT NULL AS paused, r.event_id, r.schedule_id
FROM unnest($1::uuid[]) AS i(id)
CROSS JOIN LATERAL (SELECT * FROM {schema}.run r WHERE r.id = i.id LIMIT 1) r
JOIN {schema}.job j ON j.id = r.job_id
JOIN {schema}.consumer_group g ON g.id = j.group_id
LEFT JOIN LATERAL (SELECT * FROM {schema}.run_queue q WHERE q.run_id = r.id LIMIT 1) q ON true
LEFT JOIN LATERAL (SELECT * FROM {schema}.run_end e WHERE e.run_id = r.id LIMIT 1) e ON true
