-- Starts runs that are limited in some way, in the caller's transaction and in the order given. $1 as in start_runs, and limits: an object of limit_key,
-- rate_key, exclusive and dedupe_key. They wait at a gate, and the turn that calls somebody to it is a row of their own: whether there is room
-- is no question for this transaction.
WITH given AS MATERIALIZED (
    SELECT nextval('{schema}.run_number') AS number, r.*,
           coalesce(r.at, clock_timestamp() + make_interval(secs => r.delay)) AS due_at,
           l.limit_key, l.rate_key, coalesce(l.exclusive, false) AS exclusive, l.dedupe_key,
           coalesce('c' || l.limit_key, 'r' || l.rate_key) AS gate
    FROM jsonb_to_recordset($1::text::jsonb) AS r(
        id uuid, job_id integer, priority smallint, depth smallint, source text, source_ref text, parent_id uuid,
        root_id uuid, on_parent_close text, correlation_id uuid, causation_id uuid, tenant_id text, actor text,
        scope text, scope_id text, tags text[], traceparent text, input jsonb, delay float8, at timestamptz,
        event_id uuid, trigger_id integer, schedule_id integer, scheduled_for timestamptz, limits jsonb)
    CROSS JOIN LATERAL jsonb_to_record(r.limits) AS l(limit_key text, rate_key text, exclusive boolean, dedupe_key text)),
placed AS MATERIALIZED (
    SELECT g.*, CASE WHEN g.due_at > clock_timestamp() THEN 't' WHEN g.gate IS NOT NULL THEN 'g' ELSE 'r' END AS state
    FROM given g),
begun AS (
    INSERT INTO {schema}.run (id, number, job_id, priority, depth, source, source_ref, parent_id, root_id, on_parent_close,
                              correlation_id, causation_id, tenant_id, actor, scope, scope_id, tags, traceparent, event_id,
                              trigger_id, schedule_id, scheduled_for, limits, input)
    SELECT p.id, p.number, p.job_id, p.priority, p.depth, p.source, p.source_ref, p.parent_id, p.root_id, p.on_parent_close,
           p.correlation_id, p.causation_id, p.tenant_id, p.actor, p.scope, p.scope_id, p.tags, p.traceparent, p.event_id,
           p.trigger_id, p.schedule_id, p.scheduled_for, p.limits, coalesce(p.input, 'null')
    FROM placed p
    ORDER BY p.id
    ON CONFLICT DO NOTHING
    RETURNING number, id),
queued AS (
    INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, parent_id, on_parent_close, state, due_at, limit_key, rate_key,
                                    gate, exclusive, dedupe_key)
    SELECT p.id, p.number, p.job_id, p.priority, p.parent_id, p.on_parent_close, p.state::"char", CASE WHEN p.state = 't' THEN p.due_at END, p.limit_key, p.rate_key,
           CASE WHEN p.state = 'g' THEN p.gate END, p.exclusive, p.dedupe_key
    FROM placed p
    WHERE p.number IN (SELECT b.number FROM begun b)),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT DISTINCT p.job_id, p.gate FROM placed p WHERE p.state = 'g' AND p.number IN (SELECT b.number FROM begun b))
SELECT id FROM begun
