-- The net under the gates: gives a turn to those at which runs wait although nobody of their key is at work, whatever has become
-- of the turn that was due to them. Walks from gate to gate, over any number of runs. $1 job and $2 gate behind which to begin, $3 how many
-- gates. Returns the last one and how many there were.
WITH RECURSIVE gates AS (
    (SELECT q.job_id, q.gate, 1 AS number FROM {schema}.run_queue q
     WHERE q.state = 'g' AND (q.job_id, q.gate) > ($1::integer, $2::text)
     ORDER BY q.job_id, q.gate LIMIT 1)
    UNION ALL
    SELECT n.job_id, n.gate, g.number + 1
    FROM gates g
    CROSS JOIN LATERAL (
        SELECT q.job_id, q.gate FROM {schema}.run_queue q
        WHERE q.state = 'g' AND (q.job_id, q.gate) > (g.job_id, g.gate)
        ORDER BY q.job_id, q.gate LIMIT 1) n
    WHERE g.number < $3::integer),
called AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT g.job_id, g.gate FROM gates g
    WHERE left(g.gate, 1) = 'r' OR (
        SELECT count(*) FROM (
            SELECT FROM {schema}.run_queue h
            WHERE h.job_id = g.job_id AND h.limit_key >= substr(g.gate, 2) AND h.limit_key <= substr(g.gate, 2) AND h.holds AND h.limit_key IS NOT NULL
            ORDER BY h.job_id, h.limit_key LIMIT 1) at_work) = 0
    RETURNING job_id)
SELECT g.job_id, g.gate, g.number, (SELECT count(*) FROM called) AS called FROM gates g ORDER BY g.number DESC LIMIT 1
