-- Removes runs that are over, with all that belongs to them, found in some pages of the table of their ends: those that have failed or
-- run out of time at one age, the others at another. A run whose parent has not ended stays: its result may be asked for; so does
-- one that is given to whoever starts its key, until the time for that is over.
-- $1 first page, $2 page after the last, $3 age of completed and cancelled and $4 of failed ones in seconds (null: for ever).
WITH over AS MATERIALIZED (
    SELECT e.ctid AS place, e.run_id FROM {schema}.run_end e
    WHERE e.ctid >= format('(%s,0)', $1::bigint)::tid AND e.ctid < format('(%s,0)', $2::bigint)::tid
      AND (e.state IN ('completed', 'canceled') AND e.finished_at < clock_timestamp() - make_interval(secs => $3)
           OR e.state IN ('failed', 'timed_out') AND e.finished_at < clock_timestamp() - make_interval(secs => $4))
      AND (SELECT coalesce(q.run_id, d.run_id)
           FROM {schema}.run r
           LEFT JOIN {schema}.run_queue q ON q.run_id = r.parent_id
           LEFT JOIN {schema}.run_dedupe d ON d.key = r.limits ->> 'window_key' AND d.job_id = r.job_id AND d.run_id = r.id
                AND d.expires_at > (SELECT clock_timestamp())
           WHERE r.id = e.run_id LIMIT 1) IS NULL
    FOR UPDATE OF e SKIP LOCKED),
runs AS (DELETE FROM {schema}.run WHERE id = ANY (ARRAY(SELECT run_id FROM over))),
steps AS (DELETE FROM {schema}.run_step WHERE run_id = ANY (ARRAY(SELECT run_id FROM over))),
attempts AS (DELETE FROM {schema}.run_attempt WHERE run_id = ANY (ARRAY(SELECT run_id FROM over))),
edits AS (DELETE FROM {schema}.run_edit WHERE run_id = ANY (ARRAY(SELECT run_id FROM over))),
signals AS (DELETE FROM {schema}.run_signal WHERE run_id = ANY (ARRAY(SELECT run_id FROM over))),
said AS (DELETE FROM {schema}.run_log WHERE run_id = ANY (ARRAY(SELECT run_id FROM over))),
cut AS (DELETE FROM {schema}.run_log_cut WHERE run_id = ANY (ARRAY(SELECT run_id FROM over))),
progress AS (DELETE FROM {schema}.run_progress WHERE run_id = ANY (ARRAY(SELECT run_id FROM over)))
DELETE FROM {schema}.run_end WHERE ctid = ANY (ARRAY(SELECT place FROM over))
