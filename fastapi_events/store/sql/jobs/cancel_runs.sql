-- Cancels runs: those that nobody runs end at once, those that are being run are told to. $1 ids, $2 the reason.
-- Locked in one order, that of the ids. Returns each that had not ended, and whether it has now.
WITH chosen AS MATERIALIZED (
    SELECT q.run_id, q.job_id, q.state, q.attempts, q.redrives
    FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($1::uuid[])
    ORDER BY q.run_id
    FOR UPDATE),
told AS (
    UPDATE {schema}.run_queue q SET cancel_reason = $2
    FROM chosen c WHERE q.run_id = c.run_id AND c.state = 'x'),
gone AS (
    DELETE FROM {schema}.run_queue q USING chosen c WHERE q.run_id = c.run_id AND c.state <> 'x'),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, note, attempts, redrives)
    SELECT c.run_id, c.job_id, 'canceled', $2, c.attempts, c.redrives FROM chosen c WHERE c.state <> 'x')
SELECT c.run_id, c.state <> 'x' AS ended FROM chosen c
