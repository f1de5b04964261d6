-- Keeps what runs have said, if they are still this worker's: what an attempt says that has been overtaken is nobody's.
-- $1 worker, $2 ids and $3 tokens of runs, $4 how many lines of each are left out since the last time, $5 a JSON array of lines, in
-- their order: n, run_id, attempt, age (seconds since it was said), level, step, logger, message, fields, traceback.
-- Returns the runs that are still this worker's. They are found by their ids, never among all that are running. The identity is drawn in the order of the sort, so that it is that of saying.
WITH own AS MATERIALIZED (
    SELECT q.run_id, g.left_out
    FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS g(run_id, token, left_out)
    JOIN {schema}.run_queue q ON q.run_id = g.run_id
    WHERE q.run_id = ANY ($2) AND q.token = g.token AND q.worker_id = $1 AND q.state::text = 'x'),
lines AS (
    INSERT INTO {schema}.run_log (run_id, said_at, attempt, level, step, logger, message, fields, traceback)
    SELECT l.run_id, clock_timestamp() - make_interval(secs => l.age), l.attempt, l.level, l.step, l.logger, l.message, l.fields,
           l.traceback
    FROM jsonb_to_recordset($5::jsonb) AS l(
        n integer, run_id uuid, attempt integer, age float8, level smallint, step text, logger text, message text, fields jsonb,
        traceback text)
    WHERE l.run_id IN (SELECT o.run_id FROM own o)
    ORDER BY l.n),
cut AS (
    INSERT INTO {schema}.run_log_cut AS c (run_id, lines)
    SELECT o.run_id, o.left_out FROM own o WHERE o.left_out > 0 ORDER BY o.run_id
    ON CONFLICT (run_id) DO UPDATE SET lines = c.lines + excluded.lines)
SELECT run_id FROM own
