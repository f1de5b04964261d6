-- Records runs that succeeded at their first attempt, with nothing else to say of them; of those that this worker has lost,
-- nothing. Arrays are in the order of the runs' ids, so that statements cannot deadlock, and by them an index finds the runs. Sets
-- are looked up by IN ... IS TRUE, which hashes them: a join would compare each with each. The state is compared as text, so that
-- no index is begun with it.
-- $1 worker, $2 ids and $3 tokens, $4 results, $5 durations, $6 seconds for which a result is kept, $7 jobs, $8 redrives as they
-- were when the runs were claimed, $9 all these runs and those that spawned any of them, if any was spawned, else none. Returns the
-- runs that were still this worker's: those that are recorded, and those that are put off.
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::float8[], $6::float8[], $7::integer[], $8::integer[])
        AS g(run_id, token, result, duration, keep, job_id, redrives)),
-- Runs with relatives are not waited for, nor the runs that spawned them: what somebody else has locked is put off, and all the others
-- are recorded. Nothing is locked here if the list is empty.
locked AS MATERIALIZED (
    SELECT q.run_id FROM {schema}.run_queue q WHERE q.run_id = ANY ($9::uuid[]) ORDER BY q.run_id FOR UPDATE SKIP LOCKED),
busy AS MATERIALIZED (
    SELECT q.run_id FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($9::uuid[]) AND (q.run_id IN (SELECT l.run_id FROM locked l)) IS NOT TRUE),
ended AS (
    DELETE FROM {schema}.run_queue q
    WHERE q.run_id = ANY ($2) AND q.worker_id = $1 AND q.state::text = 'x'
      AND ((q.run_id, q.token) IN (SELECT g.run_id, g.token FROM given g)) IS TRUE
      AND (q.run_id IN (SELECT b.run_id FROM busy b)) IS NOT TRUE AND (q.parent_id IN (SELECT b.run_id FROM busy b)) IS NOT TRUE
    RETURNING q.run_id, q.token, q.job_id, q.parent_id, q.has_family, q.limit_key, q.dedupe_key, false AS failed),
changed AS (SELECT e.run_id FROM ended e),
{close_families},
-- Its key is free, and its place at the gate: whoever waits there has a turn.
freed AS (
    DELETE FROM {schema}.run_dedupe d
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM ended k WHERE k.dedupe_key IS NOT NULL))
      AND ((d.job_id, d.key, d.run_id)
           IN (SELECT e.job_id, e.dedupe_key, e.run_id FROM ended e WHERE e.dedupe_key IS NOT NULL)) IS TRUE),
turns AS (
    INSERT INTO {schema}.run_turn (job_id, gate)
    SELECT DISTINCT e.job_id, 'c' || e.limit_key FROM ended e WHERE e.limit_key IS NOT NULL),
ends AS (
    INSERT INTO {schema}.run_end (run_id, job_id, state, result, attempts, redrives, worker_id, duration, expires_at)
    SELECT g.run_id, g.job_id, 'completed', g.result::jsonb, 1, g.redrives, $1, g.duration,
           clock_timestamp() + make_interval(secs => g.keep)
    FROM given g
    WHERE ((g.run_id, g.token) IN (SELECT e.run_id, e.token FROM ended e)) IS TRUE
    RETURNING run_id, job_id, state, reason, note, error_type, attempts, redrives, duration, finished_at),
{announce_ends}
SELECT run_id, token, false AS canceled, false AS put_off FROM ended
UNION ALL
SELECT q.run_id, q.token, false, true FROM {schema}.run_queue q
WHERE q.run_id = ANY ($9::uuid[]) AND q.worker_id = $1 AND q.state::text = 'x'
  AND ((q.run_id, q.token) IN (SELECT g.run_id, g.token FROM given g)) IS TRUE
  AND ((q.run_id IN (SELECT b.run_id FROM busy b)) IS TRUE OR (q.parent_id IN (SELECT b.run_id FROM busy b)) IS TRUE)
