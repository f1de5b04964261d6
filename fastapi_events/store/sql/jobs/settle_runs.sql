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
-- runs were claimed, $23 whether nobody knows what an attempt that was put down has done. $22 all these runs and those that spawned any of them, if any was spawned, else none.
-- What has come since a run looked (its news are more than it has seen) lets it go on at once, however long it would have waited.
-- Returns the runs that were still this worker's: those that are recorded, each with whether it has been told meanwhile to be cancelled, and
-- those that are put off.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
                         $10::text[], $11::integer[], $12::float8[], $13::boolean[], $14::float8[], $15::float8[],
                         $17::bigint[], $18::boolean[], $19::boolean[], $20::integer[], $21::integer[], $23::boolean[])
        AS g(run_id, token, state, reason, note, result, error_type, error_message, fingerprint, attempts, delay, unspent,
             duration, keep, seen, wakes, holds, job_id, redrives, in_doubt)),
-- Runs with relatives are not waited for, nor the runs that spawned them: what somebody else has locked is put off, and all the others
-- are recorded. Nothing is locked here if the list is empty.
locked AS MATERIALIZED (
    SELECT q.run_id FROM {schema}.run_queue q WHERE q.run_id = ANY ($22::uuid[]) ORDER BY q.run_id FOR UPDATE SKIP LOCKED),
busy AS MATERIALIZED (
    SELECT q.run_id FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($22::uuid[]) AND (q.run_id IN (SELECT l.run_id FROM locked l)) IS NOT TRUE),
ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($2) AND q.worker_id = $1 AND q.state::text = 'x'
      AND ((q.run_id, q.token) IN (SELECT g.run_id, g.token FROM given g WHERE g.state IS NOT NULL)) IS TRUE
      AND (q.run_id IN (SELECT b.run_id FROM busy b)) IS NOT TRUE AND (q.parent_id IN (SELECT b.run_id FROM busy b)) IS NOT TRUE
    RETURNING q.run_id, q.token, q.job_id, q.parent_id, q.has_family, q.limit_key, q.dedupe_key,
              (q.run_id IN (SELECT g.run_id FROM given g WHERE g.state <> 'completed')) IS TRUE AS failed),
changed AS (SELECT e.run_id FROM ended e),
{close_families},
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
        crashes_alone = 0, alone_since = NULL, lapsed = q.lapsed OR g.in_doubt, wakes = g.wakes,
        worker_id = NULL
    FROM given g
    WHERE q.run_id = ANY ($2) AND q.run_id = g.run_id AND q.token = g.token AND q.worker_id = $1
      AND q.state::text = 'x' AND g.state IS NULL AND (q.run_id IN (SELECT b.run_id FROM busy b)) IS NOT TRUE
    RETURNING q.run_id, q.token, q.job_id, q.limit_key, q.rate_key, q.holds, q.gate, q.cancel_reason IS NOT NULL AS canceled),
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
own AS (SELECT run_id, token, false AS canceled FROM ended UNION ALL SELECT run_id, token, canceled FROM waiting),
attempts AS (
    INSERT INTO {schema}.run_attempt (run_id, number, outcome, error_type, error_message, traceback, worker_id, duration)
    SELECT a.run_id, a.number, a.outcome, a.error_type, a.error_message, a.traceback, $1, a.duration
    FROM jsonb_to_recordset($16::jsonb) AS a(
        run_id uuid, number integer, outcome text, error_type text, error_message text, traceback text, duration float8)
    WHERE (a.run_id IN (SELECT o.run_id FROM own o)) IS TRUE)
SELECT run_id, token, canceled, false AS put_off FROM own
UNION ALL
SELECT q.run_id, q.token, false, true FROM {schema}.run_queue q
WHERE q.run_id = ANY ($22::uuid[]) AND q.worker_id = $1 AND q.state::text = 'x'
  AND ((q.run_id, q.token) IN (SELECT g.run_id, g.token FROM given g)) IS TRUE
  AND (q.run_id IN (SELECT o.run_id FROM own o)) IS NOT TRUE
  AND ((q.run_id IN (SELECT b.run_id FROM busy b)) IS TRUE OR (q.parent_id IN (SELECT b.run_id FROM busy b)) IS TRUE)
