-- Opens gates whose turn has come: makes ready as many runs of each as may be at work, or begin now.
-- $1 jobs, $2 how many of one key may be at work (null: any number), $3 seconds between two that begin and $4 in how many seconds
-- the limit is met (null: at any rate), $5 how many turns of each job at most, $6 how many are to begin of a rate's key at most.
--
-- One statement, so that no lock outlives a process that freezes. Of two that want the same gate one takes it, by its row's lock;
-- and whoever comes second, or began before the other one committed, finds another version than its snapshot has, and leaves the
-- gate alone: who counts knows all that others have let through. What has gone meanwhile is counted still, and brings a turn of its own.
-- Sets are kept by key, as arrays, so that they need not be joined.
--
-- A turn at a gate where nobody waits, or where all places are taken, is taken and nothing else: who comes there, or goes, later than
-- this statement sees brings one along. A gate of a key that nobody knows yet belongs to whoever makes its row, which no other one can
-- do beside: while there is none nobody is let through, and there was nobody at work when the last one was removed. A rate's is opened
-- by the next statement, which can write to the row.
WITH jobs AS MATERIALIZED (
    SELECT * FROM unnest($1::integer[], $2::integer[], $3::float8[], $4::float8[]) AS j(id, slots, spacing, span)),
called AS MATERIALIZED (
    SELECT t.place, t.job_id, t.gate
    FROM jobs j
    CROSS JOIN LATERAL (
        SELECT r.ctid AS place, r.job_id, r.gate FROM {schema}.run_turn r
        WHERE r.job_id = j.id AND r.due_at <= (SELECT clock_timestamp())
        ORDER BY r.job_id, r.due_at
        LIMIT $5
        FOR UPDATE SKIP LOCKED) t),
-- What a look without any lock tells: where nobody waits, or all places are taken, there is nothing to do. A range of one key, and an
-- order, leave the planner no other index to ask who is at work, also on an empty table.
asked AS MATERIALIZED (
    SELECT c.job_id, c.gate, c.places, CASE
        WHEN (SELECT count(*) FROM (
                  SELECT FROM {schema}.run_queue q
                  WHERE q.job_id = c.job_id AND q.gate = c.gate AND q.state = 'g'
                  ORDER BY q.job_id, q.gate LIMIT 1) waits) = 0 THEN 0
        WHEN left(c.gate, 1) = 'c' THEN coalesce(j.slots - (
            SELECT count(*) FROM (
                SELECT FROM {schema}.run_queue h
                WHERE h.job_id = c.job_id AND h.limit_key >= substr(c.gate, 2) AND h.limit_key <= substr(c.gate, 2)
                  AND h.holds AND h.limit_key IS NOT NULL
                ORDER BY h.job_id, h.limit_key
                LIMIT j.slots) at_work), $6) END AS places_left
    FROM (SELECT job_id, gate, array_agg(place) AS places FROM called GROUP BY job_id, gate ORDER BY job_id, gate) c
    JOIN jobs j ON j.id = c.job_id),
seen AS MATERIALIZED (
    SELECT a.job_id, a.gate, a.places, a.places_left, l.version
    FROM asked a
    LEFT JOIN LATERAL (
        SELECT k.version FROM {schema}.run_limit k WHERE k.job_id = a.job_id AND k.gate = a.gate LIMIT 1) l ON true
    WHERE a.places_left > 0 OR a.places_left IS NULL),
made AS (
    INSERT INTO {schema}.run_limit (job_id, gate)
    SELECT s.job_id, s.gate FROM seen s WHERE s.version IS NULL ORDER BY s.job_id, s.gate
    ON CONFLICT DO NOTHING
    RETURNING job_id, gate),
locked AS MATERIALIZED (
    SELECT l.*, s.places, s.places_left, s.version AS version_seen
    FROM seen s
    CROSS JOIN LATERAL (
        SELECT k.job_id, k.gate, k.version, k.tat, k.turn_at FROM {schema}.run_limit k
        WHERE k.job_id = s.job_id AND k.gate = s.gate
        LIMIT 1
        FOR UPDATE SKIP LOCKED) l
    WHERE s.version IS NOT NULL),
own AS MATERIALIZED (
    SELECT k.job_id, k.gate, k.places, k.places_left, k.known, k.turn_at, left(k.gate, 1) = 'r' AS of_rate, j.slots, j.spacing,
           j.span, c.now, greatest(k.tat, c.now) AS tat
    FROM (SELECT clock_timestamp() AS now) c
    CROSS JOIN (
        SELECT l.job_id, l.gate, l.places, l.places_left, true AS known, l.turn_at, l.tat
        FROM locked l WHERE l.version = l.version_seen
        UNION ALL
        SELECT s.job_id, s.gate, s.places, s.places_left, false, NULL, NULL FROM seen s
        WHERE s.version IS NULL AND left(s.gate, 1) = 'c'
          AND ((s.job_id, s.gate) IN (SELECT m.job_id, m.gate FROM made m)) IS TRUE) k
    JOIN jobs j ON j.id = k.job_id),
-- By the generic cell rate algorithm: as many as keep the arrival time within the span; and of a key as many as are not at work.
open AS MATERIALIZED (
    SELECT o.*, CASE
        WHEN NOT o.of_rate THEN o.places_left
        WHEN o.spacing IS NULL THEN $6
        ELSE greatest(0, floor((o.span - extract(epoch FROM o.tat - o.now)::float8) / o.spacing + 1e-6))::integer END AS room
    FROM own o),
picked AS MATERIALIZED (
    SELECT o.*, p.ids, coalesce(cardinality(p.ids), 0) AS number
    FROM (SELECT r.*, CASE WHEN r.of_rate THEN least(r.room, $6) ELSE r.room END AS most FROM open r) o
    CROSS JOIN LATERAL (
        SELECT array_agg(q.run_id) AS ids FROM (
            SELECT q.run_id FROM {schema}.run_queue q
            WHERE q.job_id = o.job_id AND q.gate = o.gate AND q.state = 'g'
            ORDER BY q.job_id, q.gate, q.priority DESC, q.number
            LIMIT o.most
            FOR UPDATE SKIP LOCKED) q) p),
-- Their rows are locked: nothing more is asked of them than the id, lest all that wait are walked for it.
passed AS (
    UPDATE {schema}.run_queue q
    SET holds = true,
        state = CASE WHEN left(q.gate, 1) = 'r' OR q.rate_key IS NULL THEN 'r' ELSE 'g' END::"char",
        gate = CASE WHEN left(q.gate, 1) = 'r' OR q.rate_key IS NULL THEN NULL ELSE 'r' || q.rate_key END
    WHERE q.run_id = ANY (ARRAY(SELECT unnest(p.ids) FROM picked p))
    RETURNING q.job_id, q.gate),
-- When a gate is to be looked at again that not all may have passed: for a rate when the next one may begin; and soon, where one is left
-- that could begin, and whose row somebody else has locked.
again AS MATERIALIZED (
    SELECT p.job_id, p.gate, p.known, p.turn_at, p.now, p.number,
           CASE WHEN p.of_rate THEN p.tat + make_interval(secs => p.number * p.spacing) END AS tat,
           CASE WHEN p.number < p.most THEN CASE WHEN (
                    SELECT count(*) FROM (
                        SELECT FROM {schema}.run_queue w
                        WHERE w.job_id = p.job_id AND w.gate = p.gate AND w.state = 'g'
                        ORDER BY w.job_id, w.gate LIMIT p.number + 1) there) > p.number THEN p.now + interval '100 ms' END
                WHEN NOT p.of_rate AND p.slots IS NOT NULL THEN NULL
                WHEN p.number < p.room OR p.spacing IS NULL THEN p.now
                ELSE p.tat + make_interval(secs => (p.number + 1) * p.spacing - p.span) END AS due_at
    FROM picked p),
ahead AS MATERIALIZED (
    SELECT n.*, n.due_at IS NOT NULL AND (n.turn_at IS NULL OR n.turn_at <= n.now OR n.turn_at > n.due_at) AS is_new FROM again n),
-- All of these rows are there, and locked: of an INSERT each is found by its key, where an UPDATE would join them. One that has just been
-- made says by being there that the gate was opened.
kept AS (
    INSERT INTO {schema}.run_limit AS l (job_id, gate, tat, turn_at)
    SELECT a.job_id, a.gate, a.tat, CASE WHEN a.is_new THEN a.due_at ELSE a.turn_at END
    FROM ahead a
    WHERE a.known AND (a.number > 0 OR a.is_new)
    ON CONFLICT (gate, job_id) DO UPDATE SET version = l.version + 1, tat = excluded.tat, turn_at = excluded.turn_at),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate, due_at)
    SELECT a.job_id, a.gate, a.due_at FROM ahead a
    WHERE a.is_new
    UNION ALL
    SELECT DISTINCT p.job_id, p.gate, clock_timestamp() FROM passed p WHERE p.gate IS NOT NULL),
taken AS (
    DELETE FROM {schema}.run_turn t
    WHERE t.ctid = ANY (ARRAY(SELECT unnest(o.places) FROM own o
                              UNION ALL SELECT unnest(a.places) FROM asked a WHERE a.places_left <= 0)))
SELECT (SELECT count(*) FROM passed p WHERE p.gate IS NULL) AS ready,
       EXISTS (SELECT FROM made m WHERE left(m.gate, 1) = 'r') OR EXISTS (SELECT FROM passed p WHERE p.gate IS NOT NULL)
           OR (SELECT count(*) FROM called) >= $5 AS more,
       (SELECT count(*) FROM seen) > (SELECT count(*) FROM own) AS left_alone,
       (SELECT extract(epoch FROM least(
            (SELECT min(a.due_at) FROM ahead a),
            (SELECT min(t.due_at) FROM jobs j CROSS JOIN LATERAL (
                SELECT r.due_at FROM {schema}.run_turn r
                WHERE r.job_id = j.id AND r.due_at > (SELECT clock_timestamp())
                ORDER BY r.job_id, r.due_at LIMIT 1) t)) - clock_timestamp())::float8) AS seconds
