-- Starts runs, in the caller's transaction and in the order given. $1 a JSON array of runs, each with its input's text as it is.
-- delay and at (one of them, or neither) say when it is due, by this clock. event_id and trigger_id make a run the only one
-- of both, as schedule_id and scheduled_for do, and its id follows from them: where it is there already, whichever path has started it, nothing is done. Rows go
-- in by id, so that two statements that meet wait for each other in one order only. Returns the ids of the new ones.
WITH given AS MATERIALIZED (
    SELECT nextval('{schema}.run_number') AS number, r.*,
           coalesce(r.at, clock_timestamp() + make_interval(secs => r.delay)) AS due_at
    FROM jsonb_to_recordset($1::text::jsonb) AS r(
        id uuid, job_id integer, priority smallint, depth smallint, source text, source_ref text, parent_id uuid,
        root_id uuid, on_parent_close text, correlation_id uuid, causation_id uuid, tenant_id text, actor text,
        scope text, scope_id text, tags text[], traceparent text, input jsonb, delay float8, at timestamptz,
        event_id uuid, trigger_id integer, schedule_id integer, scheduled_for timestamptz)),
begun AS (
    INSERT INTO {schema}.run (id, number, job_id, priority, depth, source, source_ref, parent_id, root_id, on_parent_close,
                              correlation_id, causation_id, tenant_id, actor, scope, scope_id, tags, traceparent,
                              event_id, trigger_id, schedule_id, scheduled_for, input)
    SELECT g.id, g.number, g.job_id, g.priority, g.depth, g.source, g.source_ref, g.parent_id, g.root_id,
           g.on_parent_close, g.correlation_id, g.causation_id, g.tenant_id, g.actor, g.scope, g.scope_id, g.tags,
           g.traceparent, g.event_id, g.trigger_id, g.schedule_id, g.scheduled_for, coalesce(g.input, 'null')
    FROM given g
    ORDER BY g.id
    ON CONFLICT DO NOTHING
    RETURNING number, id),
queued AS (
    INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, parent_id, on_parent_close, state, due_at)
    SELECT g.id, g.number, g.job_id, g.priority, g.parent_id, g.on_parent_close,
           CASE WHEN g.due_at > clock_timestamp() THEN 't' ELSE 'r' END::"char",
           CASE WHEN g.due_at > clock_timestamp() THEN g.due_at END
    FROM given g
    WHERE g.number IN (SELECT b.number FROM begun b))
SELECT id FROM begun
