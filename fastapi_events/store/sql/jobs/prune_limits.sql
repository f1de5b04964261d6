-- Removes gates at which nobody waits and of which nobody is at work; a rate's when it has rested; and where starts of a key
-- are one at a time, when none of its runs is left: whoever sees an older state of the tables (REPEATABLE READ) has to find
-- that row changed, or it would not know of a run that was started since. They are made anew when they are needed. $1 job and
-- $2 gate behind which to begin, $3 how many to look at. Returns the last one, and how many there were.
WITH looked AS MATERIALIZED (
    SELECT l.job_id, l.gate FROM {schema}.run_limit l
    WHERE (l.gate, l.job_id) > ($2::text, $1::integer)
    ORDER BY l.gate, l.job_id LIMIT $3::integer),
gone AS (
    DELETE FROM {schema}.run_limit d
    WHERE d.ctid = ANY (ARRAY(
        SELECT l.ctid
        FROM looked k JOIN {schema}.run_limit l ON l.job_id = k.job_id AND l.gate = k.gate
        WHERE l.gate = ANY (ARRAY(SELECT o.gate FROM looked o))
          AND coalesce(greatest(l.tat, l.turn_at), '-infinity') < clock_timestamp()
          AND (SELECT count(*) FROM (
                  SELECT FROM {schema}.run_queue q WHERE q.job_id = l.job_id AND q.gate = l.gate AND q.state = 'g'
                  ORDER BY q.job_id, q.gate LIMIT 1) waits) = 0
          AND (SELECT count(*) FROM (
                  SELECT FROM {schema}.run_queue h
                  WHERE h.job_id = l.job_id AND h.limit_key >= substr(l.gate, 2) AND h.limit_key <= substr(l.gate, 2)
                    AND h.holds AND h.limit_key IS NOT NULL
                  ORDER BY h.job_id, h.limit_key LIMIT 1) at_work) = 0
          AND CASE WHEN left(l.gate, 1) = 's' THEN (
              SELECT count(*) FROM (
                  SELECT FROM {schema}.run_queue e
                  WHERE e.job_id = l.job_id AND e.limit_key = substr(l.gate, 2) AND e.exclusive
                  ORDER BY e.job_id, e.limit_key, e.number LIMIT 1) there) = 0 ELSE true END
        FOR UPDATE OF l SKIP LOCKED)))
SELECT k.job_id, k.gate, (SELECT count(*) FROM looked) AS number FROM looked k ORDER BY k.gate DESC, k.job_id DESC LIMIT 1
