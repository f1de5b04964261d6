-- Takes runs that are ready, of the jobs that this process has: the highest priority first, then the order of starting.
-- $1 jobs, $2 how many of each at most, $3 how many at most, $4 lease in seconds, $5 worker.
--
-- Each job is walked by itself, so that runs of jobs which this process lacks, or which are paused, are never in the way. A
-- row that is claimed leaves the index of ready ones; its lease is its due_at. A token is drawn, not counted: after a crash of
-- the server that took a claim with it, the next one would have its number.
UPDATE {schema}.run_queue AS q
SET state = 'x', token = (random() * 9007199254740991)::bigint, due_at = clock_timestamp() + make_interval(secs => $4), worker_id = $5
FROM {schema}.run r
WHERE q.ctid = ANY (ARRAY(
    SELECT ready.ctid
    FROM unnest($1::integer[], $2::integer[]) AS j(id, room)
    CROSS JOIN LATERAL (
        SELECT p.ctid, p.priority, p.number
        FROM {schema}.run_queue p
        WHERE p.job_id = j.id AND p.state = 'r'
        ORDER BY p.job_id, p.priority DESC, p.number
        LIMIT j.room
        FOR UPDATE SKIP LOCKED) ready
    ORDER BY ready.priority DESC, ready.number
    LIMIT $3))
  AND r.id = q.run_id
RETURNING q.run_id, q.number, q.job_id, q.priority, q.token, q.attempts, q.attempts_before, q.postponed, q.crashes,
          q.redrives, q.resumed, q.has_family, q.cancel_reason, r.depth, r.created_at, r.source, r.source_ref, r.parent_id, r.root_id, r.correlation_id,
          r.causation_id, r.tenant_id, r.actor, r.scope, r.scope_id, r.tags, r.traceparent, r.scheduled_for,
          r.input::text AS input
