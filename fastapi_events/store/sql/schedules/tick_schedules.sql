-- Moves each schedule on from the tick that was read: whoever comes second finds another next_at and changes nothing. Its runs are
-- started in the same transaction, under the locks of these rows. $1 a JSON array of schedules: id, spec and tz as they were read,
-- tick (the next_at that was read), next_at (what follows), last_at and last_run (the newest tick that starts a run, and that run).
-- Returns what the runs are given.
WITH given AS MATERIALIZED (
    SELECT g.* FROM jsonb_to_recordset($1::text::jsonb) AS g(
        id integer, spec text, tz text, tick timestamptz, next_at timestamptz, last_at timestamptz, last_run uuid)),
-- Locked in one order, that of the ids.
locked AS MATERIALIZED (
    SELECT s.id
    FROM {schema}.schedule s
    WHERE s.id = ANY (ARRAY(SELECT g.id FROM given g))
    ORDER BY s.id
    FOR NO KEY UPDATE)
UPDATE {schema}.schedule s
SET next_at = g.next_at, last_seen_at = clock_timestamp(), last_tick_at = coalesce(g.last_at, s.last_tick_at),
    last_run_id = coalesce(g.last_run, s.last_run_id), last_note = CASE WHEN g.last_run IS NULL THEN s.last_note END
FROM given g
WHERE s.id = g.id AND s.id = ANY (ARRAY(SELECT l.id FROM locked l))
  AND s.next_at = g.tick AND s.next_at <= clock_timestamp() AND s.paused_at IS NULL AND s.spec = g.spec AND s.tz = g.tz
RETURNING s.id, s.name, s.job_id, s.priority, s.scope, s.scope_id, s.input::text AS input, s.limits::text AS limits
