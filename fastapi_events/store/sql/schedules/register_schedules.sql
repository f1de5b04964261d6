-- Makes schedules known to the group. $1 group, $2 a JSON array of schedules, $3 the worker that declares them.
-- id null: a new one. next_at null: its next tick stays what it is.
WITH given AS MATERIALIZED (
    SELECT g.* FROM jsonb_to_recordset($2::text::jsonb) AS g(
        id integer, name text, former_names text[], job_id integer, spec text, tz text, missed text, input jsonb,
        priority smallint, scope text, scope_id text, limits jsonb, next_at timestamptz)),
-- A renamed schedule keeps its row, and with it its next tick.
known AS (
    UPDATE {schema}.schedule s
    SET name = g.name, former_names = g.former_names, job_id = g.job_id, spec = g.spec, tz = g.tz, missed = g.missed,
        input = coalesce(g.input, 'null'), priority = g.priority, scope = g.scope, scope_id = g.scope_id,
        limits = g.limits,
        next_at = coalesce(g.next_at, s.next_at), last_seen_at = clock_timestamp(), declared_by = $3
    FROM given g
    WHERE s.id = g.id)
INSERT INTO {schema}.schedule (group_id, name, former_names, job_id, spec, tz, missed, input, priority, scope, scope_id,
                               limits,                               next_at, declared_by)
SELECT $1, g.name, g.former_names, g.job_id, g.spec, g.tz, g.missed, coalesce(g.input, 'null'), g.priority, g.scope,
       g.scope_id, g.limits, g.next_at, $3
FROM given g
WHERE g.id IS NULL
ORDER BY g.name
