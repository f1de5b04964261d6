-- Records what became of runs; of those that this worker has lost, nothing. Arrays are in the order of the runs' ids, so that
-- statements cannot deadlock, and by them an index finds the runs. Sets are looked up by IN ... IS TRUE, which hashes them: a join
-- would compare each with each, as it still does for those that wait, of which there are few at a time. The state is compared as
-- text, so that no index is begun with it.
--
-- $1 worker, $2 ids and $3 tokens, $4 how each ended (null: it waits for its next attempt), $5 reasons, $6 notes, $7 results,
-- $8 types, $9 messages and $10 fingerprints of errors, $11 attempts made, $12 seconds until the next attempt, $13 whether
-- nothing was spent, $14 durations, $15 seconds for which a result is kept, $16 a JSON array of attempts to record.
-- $17 of a run that goes to wait for its children, the news that it has seen, and $18 whether the end of any is worth a
-- look; $19 whether it keeps its place at the gate, as one that is suspended does. $20 jobs and $21 redrives, as they were when the
-- runs were claimed.
-- What has come since a run looked (its news are more than it has seen) lets it go on at once, however long it would have waited.
-- Returns the runs that were still this worker's.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                         $10::text[], $11::integer[], $12::float8[], $13::boolean[], $14::float8[], $15::float8[],
                         $17::bigint[], $18::boolean[], $19::boolean[], $20::integer[], $21::integer[])
        AS g(run_id, token, state, reason, note, result, error_type, error_message, fingerprint, attempts, delay, unspent,
             duration, keep, seen, wakes, holds, job_id, redrives)),
ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($2) AND q.worker_id = $1 AND q.state::text = 'x'
      AND ((q.run_id, q.token) IN (SELECT g.run_id, g.token FROM given g WHERE g.state IS NOT NULL)) IS TRUE
    RETURNING q.run_id, q.token, q.job_id, q.parent_id, q.has_family, q.limit_key, q.dedupe_key),
-- Whoever ends is one child less to the run that spawned it, which goes on if it waits for that; and its own children are closed as
-- they were to be. A run may be both, and no statement changes a row twice, so this is one change. What is to be cancelled and is
-- not at work is ended by whoever finds it (end_canceled_runs), and so closes its children in turn.
concerned AS MATERIALIZED (
    SELECT r.run_id, sum(r.ended)::integer AS ended, bool_or(r.closes) AS closes
    FROM (SELECT e.parent_id AS run_id, 1 AS ended, false AS closes FROM ended e WHERE e.parent_id IS NOT NULL
          UNION ALL
          SELECT s.run_id, 0, true FROM ended e
          JOIN {schema}.run_queue s ON s.parent_id = e.run_id AND s.on_parent_close <> 'abandon'
             AND s.parent_id = ANY (ARRAY(SELECT f.run_id FROM ended f WHERE f.has_family))
          WHERE e.has_family) r
    GROUP BY r.run_id ORDER BY r.run_id),
relatives AS (
    UPDATE {schema}.run_queue k
    SET children = k.children - c.ended, news = k.news + 1,
        cancel_reason = CASE WHEN c.closes THEN coalesce(k.cancel_reason, 'the run that spawned it has ended')
                             ELSE k.cancel_reason END,
        state = CASE WHEN c.closes AND NOT (k.state = 'x' AND k.on_parent_close = 'cancel') THEN 'r'::"char"
                     WHEN k.state = 'w' AND (k.wakes OR k.children <= c.ended) THEN 'r'::"char" ELSE k.state END,
        due_at = CASE WHEN k.state = 'x' AND NOT (c.closes AND k.on_parent_close = 'terminate') THEN k.due_at
                      WHEN c.closes THEN NULL ELSE k.due_at END,
        worker_id = CASE WHEN c.closes AND k.on_parent_close = 'terminate' THEN NULL ELSE k.worker_id END
    FROM concerned c
    WHERE k.run_id = ANY (ARRAY(SELECT n.run_id FROM concerned n)) AND k.run_id = c.run_id),
waiting AS (
    UPDATE {schema}.run_queue q
    SET state = CASE WHEN g.seen IS NOT NULL AND q.news <= g.seen AND q.cancel_reason IS NULL THEN 'w'
                     WHEN g.delay > 0 AND g.seen IS NULL THEN 't'
                     WHEN q.holds AND NOT g.holds THEN 'g' ELSE 'r' END::"char",
        gate = CASE WHEN q.holds AND NOT g.holds AND g.delay <= 0 THEN coalesce('c' || q.limit_key, 'r' || q.rate_key) END,
        holds = q.holds AND g.holds,
        due_at = CASE WHEN g.delay > 0 AND (g.seen IS NULL OR q.news <= g.seen AND q.cancel_reason IS NULL)
                      THEN clock_timestamp() + make_interval(secs => g.delay) END,
        attempts = g.attempts, postponed = CASE WHEN g.unspent THEN q.postponed + 1 ELSE 0 END, crashes = 0, resumed = true,
        crashes_alone = 0, alone_since = NULL, lapsed = false, wakes = g.wakes,
        worker_id = NULL
    FROM given g
    WHERE q.run_id = ANY ($2) AND q.run_id = g.run_id AND q.token = g.token AND q.worker_id = $1
      AND q.state::text = 'x' AND g.state IS NULL
    RETURNING q.run_id, q.token, q.job_id, q.limit_key, q.rate_key, q.holds, q.gate),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, reason, note, result, error_type, error_message, fingerprint,
                                  attempts, redrives, worker_id, duration, expires_at)
    SELECT g.run_id, g.job_id, g.state, g.reason, g.note, g.result::jsonb, g.error_type, g.error_message, g.fingerprint,
           g.attempts, g.redrives, $1, g.duration, clock_timestamp() + make_interval(secs => g.keep)
    FROM given g
    WHERE ((g.run_id, g.token) IN (SELECT e.run_id, e.token FROM ended e)) IS TRUE
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends},
freed AS (
    DELETE FROM {schema}.run_dedupe d
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM ended k WHERE k.dedupe_key IS NOT NULL))
      AND ((d.job_id, d.key, d.run_id)
           IN (SELECT e.job_id, e.dedupe_key, e.run_id FROM ended e WHERE e.dedupe_key IS NOT NULL)) IS TRUE),
-- Who has gone from the gate, or comes to it anew, brings a turn.
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT e.job_id, 'c' || e.limit_key FROM ended e WHERE e.limit_key IS NOT NULL
    UNION
    SELECT w.job_id, coalesce('c' || w.limit_key, w.gate) FROM waiting w
    WHERE NOT w.holds AND (w.limit_key IS NOT NULL OR w.gate IS NOT NULL)),
own AS (SELECT run_id, token FROM ended UNION ALL SELECT run_id, token FROM waiting),
attempts AS (
    INSERT INTO {schema}.run_attempt (run_id, number, outcome, error_type, error_message, traceback, worker_id, duration)
    SELECT a.run_id, a.number, a.outcome, a.error_type, a.error_message, a.traceback, $1, a.duration
    FROM jsonb_to_recordset($16::jsonb) AS a(
        run_id uuid, number integer, outcome text, error_type text, error_message text, traceback text, duration float8)
    WHERE (a.run_id IN (SELECT o.run_id FROM own o)) IS TRUE)
SELECT run_id, token FROM own
