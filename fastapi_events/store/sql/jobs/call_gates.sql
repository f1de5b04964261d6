-- The net under the gates of a job: gives a turn to those at which runs wait although one may begin, whatever has become of the turn
-- that was due to them. Walks from gate to gate, over any number of runs. $1 job, $2 how many of one key may be at work (null: any
-- number), $3 seconds between two that begin and $4 in how many seconds the limit is met (null: at any rate), $5 the gate behind
-- which to begin, $6 how many gates. Returns the last one, how many there were, and how many have a turn now.
--
-- While turns of the job are left lying nobody has room for it, and none is needed: they would become more with each poll. Who comes to
-- have room takes what lies there, and what is lost is found when all of it has been taken.
WITH RECURSIVE gates AS (
    (SELECT q.gate, 1 AS number FROM {schema}.run_queue q
     WHERE q.job_id = $1::integer AND q.state = 'g' AND q.gate > $5::text
       AND (SELECT count(*) FROM (
               SELECT FROM {schema}.run_turn t
               WHERE t.job_id = $1::integer AND t.due_at <= (SELECT clock_timestamp() - interval '1 second')
               ORDER BY t.job_id, t.due_at LIMIT 1) left_lying) = 0
     ORDER BY q.job_id, q.gate LIMIT 1)
    UNION ALL
    SELECT n.gate, g.number + 1
    FROM gates g
    CROSS JOIN LATERAL (
        SELECT q.gate FROM {schema}.run_queue q
        WHERE q.job_id = $1::integer AND q.state = 'g' AND q.gate > g.gate
        ORDER BY q.job_id, q.gate LIMIT 1) n
    WHERE g.number < $6::integer),
called AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT $1::integer, g.gate FROM gates g
    WHERE CASE
        WHEN left(g.gate, 1) = 'r' THEN $3::float8 IS NULL OR coalesce((
            SELECT extract(epoch FROM l.tat - clock_timestamp())::float8 <= $4::float8 - $3::float8 + 1e-6
            FROM {schema}.run_limit l WHERE l.gate = g.gate AND l.job_id = $1::integer), true)
        ELSE $2::integer IS NULL OR (
            SELECT count(*) FROM (
                SELECT FROM {schema}.run_queue h
                WHERE h.job_id = $1::integer AND h.limit_key >= substr(g.gate, 2) AND h.limit_key <= substr(g.gate, 2)
                  AND h.holds AND h.limit_key IS NOT NULL
                ORDER BY h.job_id, h.limit_key LIMIT $2::integer) at_work) < $2::integer END
    RETURNING job_id)
SELECT g.gate, g.number, (SELECT count(*) FROM called) AS called FROM gates g ORDER BY g.number DESC LIMIT 1
