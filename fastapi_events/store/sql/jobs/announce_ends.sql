-- Of jobs that want it, the end of each run is an audit event; the ends are rows of a CTE of that name. Which jobs do is looked up
-- once for the statement, not for each run. No drain reads audit events, so that any partition will do.
announced AS (
    INSERT INTO {schema}.event (lane, partition, name, version, depth, id, correlation_id, causation_id, occurred_at, aggregate,
                                aggregate_id, key, tenant_id, actor, headers, payload)
    SELECT 3, 0, 'fastapi_events.run.ended', 1, least(r.depth + 1, 32767), gen_random_uuid(), r.correlation_id, e.run_id, e.finished_at,
           'run', e.run_id::text, concat(r.tenant_id, '/run/', e.run_id::text), r.tenant_id, r.actor,
           CASE WHEN r.traceparent IS NOT NULL THEN jsonb_build_object('traceparent', r.traceparent) END,
           jsonb_build_object(
               'run_id', e.run_id, 'job', r.job, 'state', e.state, 'reason', e.reason, 'note', e.note, 'error_type', e.error_type,
               'attempts', e.attempts, 'redrives', e.redrives, 'duration', e.duration, 'started_at', r.created_at,
               'source', r.source, 'parent_id', r.parent_id, 'root_id', r.root_id, 'scope', r.scope, 'scope_id', r.scope_id,
               'tags', coalesce(r.tags, '{}'))
    FROM ends e
    CROSS JOIN LATERAL (
        SELECT n.*, (SELECT j.name FROM {schema}.job j WHERE j.id = e.job_id) AS job
        FROM {schema}.run n WHERE n.id = e.run_id LIMIT 1) r
    WHERE e.job_id = ANY (ARRAY(SELECT j.id FROM {schema}.job j WHERE j.announces)))
