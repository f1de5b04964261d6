-- Records a step, durably, if the run is still this worker's: what has been done must not be done again because a crash of the
-- server made off with its record. The run's row is locked, so that nobody takes it over between the two. Parameters are texts,
-- since the statement also runs in the transactions of applications.
-- $1 run, $2 token, $3 worker, $4 name, $5 number, $6 kind, $7 state, $8 source, $9 result, $10 attempts, $11 type and $12 message of
-- its error, $13 duration, $14 seconds until it is due, $15 whether its result is
-- nothing for people's eyes, $16 milliseconds for which what somebody has locked is waited for, until the transaction ends (null: as
-- long as it waits anyway). Returns a row if it was recorded: seconds that are left.
WITH durably AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'on', true),
           set_config('lock_timeout', coalesce($16::text, current_setting('lock_timeout')), true)),
own AS MATERIALIZED (
    SELECT q.run_id FROM {schema}.run_queue q CROSS JOIN durably
    WHERE q.run_id = $1::text::uuid AND q.token = $2::text::bigint AND q.worker_id = $3::text::uuid AND q.state::text = 'x'
    FOR NO KEY UPDATE OF q)
INSERT INTO {schema}.run_step AS s (run_id, name, number, kind, state, source, result, attempts, error_type, error_message,
                                    duration, due_at, secret)
SELECT o.run_id, $4::text, $5::text::integer, $6::text, $7::text, $8::text, $9::text::jsonb, $10::text::integer, $11::text,
       $12::text, $13::text::float8, clock_timestamp() + make_interval(secs => $14::text::float8),
       $15::text::boolean
FROM own o
ON CONFLICT (run_id, name) DO UPDATE
SET state = excluded.state, result = excluded.result, attempts = excluded.attempts, error_type = excluded.error_type,
    error_message = excluded.error_message, duration = excluded.duration, due_at = excluded.due_at, secret = excluded.secret,
    changed_at = clock_timestamp()
WHERE s.state <> 'done'
RETURNING extract(epoch FROM s.due_at - clock_timestamp())::float8 AS seconds_left
