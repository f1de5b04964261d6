-- Records what became of runs; of those that this worker has lost, nothing. Arrays are in the order of the runs' ids, so that
-- statements cannot deadlock.
--
-- $1 worker, $2 ids and $3 tokens, $4 how each ended (null: it waits for its next attempt), $5 reasons, $6 notes, $7 results,
-- $8 types, $9 messages and $10 fingerprints of errors, $11 attempts made, $12 seconds until the next attempt, $13 whether
-- nothing was spent, $14 durations, $15 seconds for which a result is kept, $16 a JSON array of attempts to record.
-- Returns the runs that were still this worker's.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                         $10::text[], $11::integer[], $12::float8[], $13::boolean[], $14::float8[], $15::float8[])
        AS g(run_id, token, state, reason, note, result, error_type, error_message, fingerprint, attempts, delay, unspent,
             duration, keep)),
ended AS (
    DELETE FROM {schema}.run_queue q
    USING given g
    WHERE q.run_id = g.run_id AND q.token = g.token AND q.worker_id = $1 AND q.state = 'x' AND g.state IS NOT NULL
    RETURNING q.run_id, q.token, q.job_id, q.redrives),
waiting AS (
    UPDATE {schema}.run_queue q
    SET state = CASE WHEN g.delay > 0 THEN 't' ELSE 'r' END::"char",
        due_at = CASE WHEN g.delay > 0 THEN clock_timestamp() + make_interval(secs => g.delay) END,
        attempts = g.attempts, postponed = CASE WHEN g.unspent THEN q.postponed + 1 ELSE 0 END, crashes = 0, resumed = true,
        worker_id = NULL
    FROM given g
    WHERE q.run_id = g.run_id AND q.token = g.token AND q.worker_id = $1 AND q.state = 'x' AND g.state IS NULL
    RETURNING q.run_id, q.token),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, reason, note, result, error_type, error_message, fingerprint,
                                  attempts, redrives, worker_id, duration, expires_at)
    SELECT e.run_id, e.job_id, g.state, g.reason, g.note, g.result::jsonb, g.error_type, g.error_message, g.fingerprint,
           g.attempts, e.redrives, $1, g.duration, clock_timestamp() + make_interval(secs => g.keep)
    FROM ended e JOIN given g ON g.run_id = e.run_id),
own AS (SELECT run_id, token FROM ended UNION ALL SELECT run_id, token FROM waiting),
attempts AS (
    INSERT INTO {schema}.run_attempt (run_id, number, outcome, error_type, error_message, traceback, worker_id, duration)
    SELECT a.run_id, a.number, a.outcome, a.error_type, a.error_message, a.traceback, $1, a.duration
    FROM jsonb_to_recordset($16::jsonb) AS a(
        run_id uuid, number integer, outcome text, error_type text, error_message text, traceback text, duration float8)
    WHERE a.run_id IN (SELECT run_id FROM own))
SELECT run_id, token FROM own
