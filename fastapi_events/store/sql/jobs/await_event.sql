-- Records that a run waits for an event that is not there yet. $1 run, $2 name and $3 number of the step, $4 the event's name, $5 its
-- ordering key (null: any), $6 where it would be stored, $7 seconds to wait at most (null: for ever), $8 how people
-- call it. Runs behind lock_own_run.
-- Waiting goes on from where it began, if it began before; what is left of a wait that the run has forgotten is not it. A run that was
-- let begin anew while it waited goes on from that moment: its wait went with its end (redrive_runs).
WITH known AS MATERIALIZED (
    SELECT s.state, s.since FROM {schema}.run_step s WHERE s.run_id = $1 AND s.name = $2),
waits AS (
    INSERT INTO {schema}.run_wait (run_id, name, event_name, key, places, since)
    SELECT $1, $2, $4, $5, $6::integer[], coalesce((SELECT k.since FROM known k), pg_current_snapshot())
    WHERE NOT EXISTS (SELECT FROM known k WHERE k.state <> 'waiting')
    ON CONFLICT (run_id, name) DO UPDATE
    SET event_name = excluded.event_name, key = excluded.key, places = excluded.places, since = excluded.since
    WHERE NOT EXISTS (SELECT FROM known k)),
step AS (
    INSERT INTO {schema}.run_step (run_id, name, number, kind, state, source, due_at)
    VALUES ($1, $2, $3, 'event', 'waiting', $8, clock_timestamp() + make_interval(secs => $7))
    ON CONFLICT DO NOTHING
    RETURNING state, NULL::text AS result, extract(epoch FROM due_at - clock_timestamp())::float8 AS seconds_left)
SELECT * FROM step
UNION ALL
SELECT s.state, s.result::text, extract(epoch FROM s.due_at - clock_timestamp())::float8
FROM {schema}.run_step s WHERE s.run_id = $1 AND s.name = $2
