-- Ticks: moves each schedule on from the tick that was read, and starts the runs of that in the same statement: whoever comes
-- second finds another next_at and changes nothing. $1 a JSON array of schedules: id, spec and tz as they were read, tick (the
-- next_at that was read), next_at (what follows), and runs, an array of id and at (the tick).
WITH given AS MATERIALIZED (
    SELECT g.* FROM jsonb_to_recordset($1::text::jsonb) AS g(
        id integer, spec text, tz text, tick timestamptz, next_at timestamptz, runs jsonb)),
-- Locked in one order, that of the ids.
locked AS MATERIALIZED (
    SELECT s.id
    FROM {schema}.schedule s
    WHERE s.id = ANY (ARRAY(SELECT g.id FROM given g))
    ORDER BY s.id
    FOR NO KEY UPDATE),
moved AS (
    UPDATE {schema}.schedule s
    SET next_at = g.next_at, last_seen_at = clock_timestamp(),
        last_tick_at = coalesce((SELECT max(t.at) FROM jsonb_to_recordset(g.runs) AS t(at timestamptz)), s.last_tick_at),
        last_run_id = coalesce((g.runs -> -1 ->> 'id')::uuid, s.last_run_id)
    FROM given g
    WHERE s.id = g.id AND s.id = ANY (ARRAY(SELECT l.id FROM locked l))
      AND s.next_at = g.tick AND s.next_at <= clock_timestamp() AND s.paused_at IS NULL AND s.spec = g.spec AND s.tz = g.tz
    RETURNING s.id, s.name, s.job_id, s.priority, s.scope, s.scope_id, s.input, g.runs),
ordered AS MATERIALIZED (
    SELECT m.*, t.id AS run_id, t.at
    FROM moved m CROSS JOIN LATERAL jsonb_to_recordset(m.runs) AS t(id uuid, at timestamptz)
    ORDER BY t.at, m.id),
chosen AS MATERIALIZED (SELECT nextval('{schema}.run_number') AS number, o.* FROM ordered o),
-- The second net: whatever became of next_at, a tick has one run.
started AS (
    INSERT INTO {schema}.run (id, number, job_id, priority, source, source_ref, correlation_id, scope, scope_id, input,
                              schedule_id, scheduled_for)
    SELECT c.run_id, c.number, c.job_id, c.priority, 'schedule', c.name, c.run_id, c.scope, c.scope_id, c.input, c.id, c.at
    FROM chosen c
    ON CONFLICT (schedule_id, scheduled_for) WHERE schedule_id IS NOT NULL DO NOTHING
    RETURNING id, number, job_id, priority),
queued AS (
    INSERT INTO {schema}.run_queue (run_id, number, job_id, priority, state)
    SELECT s.id, s.number, s.job_id, s.priority, 'r' FROM started s)
SELECT m.id,
       (SELECT count(*) FROM chosen c JOIN started s ON s.id = c.run_id WHERE c.id = m.id) AS runs
FROM moved m
