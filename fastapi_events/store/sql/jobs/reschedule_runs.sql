-- Puts off, or brings forward, runs that have not begun; nobody begins them before. $1 ids, $2 in how many seconds, or $3 when.
-- Locked in one order, that of the ids. One that had its place at the gate gives it up, with a turn for whoever waits there, and
-- comes to the gate anew when it is due. Returns those that were put off or brought forward.
WITH chosen AS MATERIALIZED (
    SELECT q.run_id, q.job_id, q.limit_key, q.holds
    FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($1::uuid[]) AND q.state <> 'x' AND q.state <> 'w' AND NOT q.resumed AND q.attempts = q.attempts_before
      AND q.crashes = 0 AND q.cancel_reason IS NULL
    ORDER BY q.run_id
    FOR UPDATE),
moved AS (
    UPDATE {schema}.run_queue q
    SET state = 't', gate = NULL, holds = false,
        due_at = greatest(clock_timestamp(), coalesce($3::timestamptz, clock_timestamp() + make_interval(secs => $2::float8)))
    WHERE q.run_id = ANY (ARRAY(SELECT c.run_id FROM chosen c))),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT DISTINCT c.job_id, 'c' || c.limit_key FROM chosen c WHERE c.holds AND c.limit_key IS NOT NULL)
SELECT c.run_id FROM chosen c
