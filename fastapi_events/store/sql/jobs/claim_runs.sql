-- Takes runs that are ready, of the jobs that this process has: the highest priority first, then the order of starting.
-- $1 jobs, $2 how many of each at most, $3 how many at most, $4 lease in seconds, $5 worker,
-- $6 from how many crashes on a run is left to others.
--
-- Each job is walked by itself, so that runs of jobs which this process lacks, or which are paused, are never in the way. A
-- row that is claimed leaves the index of ready ones; its lease is its due_at. A token is drawn, not counted: after a crash of
-- the server that took a claim with it, the next one would have its number.
--
-- A key that a run held until it has begun is free from here on. A run whose place another one took while it was being run is
-- told so here, if it was given back since.
--
-- What was found and not taken (leaves) was locked for a moment: another process that looked just then has not seen it.
--
-- What is to be found is given as an array, or looked for one by one, so that an index finds it in whichever order the planner
-- joins: on an empty table it cannot tell one order from the other.
WITH found AS MATERIALIZED (
    SELECT ready.run_id, ready.priority, ready.number
    FROM unnest($1::integer[], $2::integer[]) AS j(id, room)
    CROSS JOIN LATERAL (
        SELECT p.run_id, p.priority, p.number
        FROM {schema}.run_queue p
        WHERE p.job_id = j.id AND p.state = 'r' AND p.crashes < $6::integer
        ORDER BY p.job_id, p.priority DESC, p.number
        LIMIT j.room
        FOR UPDATE SKIP LOCKED) ready),
chosen AS MATERIALIZED (SELECT f.run_id FROM found f ORDER BY f.priority DESC, f.number LIMIT $3),
claimed AS (
    UPDATE {schema}.run_queue AS q
    SET state = 'x', token = (random() * 9007199254740991)::bigint, due_at = clock_timestamp() + make_interval(secs => $4),
        worker_id = $5, alone_since = NULL
    WHERE q.run_id = ANY (ARRAY(SELECT c.run_id FROM chosen c))
    RETURNING q.run_id, q.number, q.job_id, q.priority, q.token, q.attempts, q.attempts_before, q.postponed, q.crashes,
              q.crashes_alone, q.lapsed, q.redrives, q.resumed, q.has_family, q.cancel_reason, q.exclusive, q.dedupe_key),
freed AS (
    DELETE FROM {schema}.run_dedupe d
    WHERE d.key = ANY (ARRAY(SELECT k.dedupe_key FROM claimed k WHERE k.dedupe_key IS NOT NULL)) AND d.until_started
      AND ((d.job_id, d.key, d.run_id)
           IN (SELECT c.job_id, c.dedupe_key, c.run_id FROM claimed c WHERE c.dedupe_key IS NOT NULL)) IS TRUE)
SELECT (SELECT count(*) FROM found) > $3 AS leaves, c.run_id, c.number, c.job_id, c.priority, c.token, c.attempts, c.attempts_before, c.postponed, c.crashes, c.crashes_alone,
       c.lapsed, c.redrives, c.resumed, c.has_family, CASE WHEN c.exclusive
            THEN coalesce(c.cancel_reason, (SELECT p.reason FROM {schema}.run_replaced p WHERE p.run_id = c.run_id))
            ELSE c.cancel_reason END AS cancel_reason, r.*
FROM claimed c
CROSS JOIN LATERAL (
    SELECT n.depth, n.created_at, n.source, n.source_ref, n.parent_id, n.root_id, n.correlation_id, n.causation_id, n.tenant_id,
           n.actor, n.scope, n.scope_id, n.tags, n.traceparent, n.scheduled_for,
           n.input::text AS input
    FROM {schema}.run n WHERE n.id = c.run_id LIMIT 1) r
