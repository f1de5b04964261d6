-- What there is to do about jobs: the one question that a process asks which has nothing to do, each poll interval. What it
-- finds is told to whoever does it, and only that one asks on. One row, whatever there is.
-- $1 the jobs that may be run here, $2 those of them that are limited, $3 schedules, $4 how many waits for events to look at,
-- $5 how many transactions the snapshot of one may be behind before it is to be moved on.
--
-- due_seconds and scheduled_seconds: until the next run is due or a lease is over, and until the next scheduled event is; null if
-- there is none. tick_seconds: until the next tick of the schedules, not above zero if the process that declared one is there no more.
-- canceled: whether a run is to be ended that nobody runs, because it was cancelled or another one has taken its place; or whether more
-- has been said to runs than can be looked at here. gated: the jobs of which one waits at a gate. ready: the jobs of which a run can be
-- claimed, or a turn taken. waits: how many wait for events, no more than $4; awaited: where those events would be stored; met:
-- whether something is to be done about one: its event is there, nobody waits any more, or its snapshot is behind.
--
-- Each is looked for in its order, up to the first, so that an index finds it also where the planner knows of no rows.
WITH waits AS MATERIALIZED (
    SELECT w.run_id, w.name, w.event_name, w.key, w.places, w.since
    FROM {schema}.run_wait w
    ORDER BY w.run_id, w.name
    LIMIT $4::integer),
told AS MATERIALIZED (
    SELECT p.run_id FROM {schema}.run_replaced p ORDER BY p.run_id LIMIT 100)
SELECT (SELECT extract(epoch FROM p.due_at - clock_timestamp())::float8
        FROM {schema}.run_queue p WHERE p.due_at IS NOT NULL ORDER BY p.due_at LIMIT 1) AS due_seconds,
       (SELECT extract(epoch FROM s.due_at - clock_timestamp())::float8
        FROM {schema}.scheduled_event s ORDER BY s.due_at, s.number LIMIT 1) AS scheduled_seconds,
       (SELECT min(CASE
            WHEN (SELECT count(*) FROM (
                      SELECT FROM {schema}.worker w
                      WHERE w.id = s.declared_by AND w.lease_until > clock_timestamp() LIMIT 1) there) = 0 THEN 0.0
            WHEN s.paused_at IS NULL THEN extract(epoch FROM s.next_at - clock_timestamp()) END)::float8
        FROM {schema}.schedule s
        WHERE s.id = ANY ($3::integer[])) AS tick_seconds,
       (SELECT count(*) FROM (
            SELECT FROM {schema}.run_queue c
            WHERE c.cancel_reason IS NOT NULL AND c.state <> 'x' ORDER BY c.run_id LIMIT 1) one) > 0
       OR (SELECT count(*) FROM told) = 100
       OR (SELECT count(*) FROM (
            SELECT FROM told t
            CROSS JOIN LATERAL (
                SELECT FROM {schema}.run_queue c
                WHERE c.run_id = t.run_id AND c.state::text <> 'x' LIMIT 1) idle
            LIMIT 1) one) > 0 AS canceled,
       ARRAY(SELECT j.id FROM unnest($1::integer[]) AS j(id)
             CROSS JOIN LATERAL (
                 SELECT FROM {schema}.run_queue g
                 WHERE g.job_id = j.id AND g.state = 'g' ORDER BY g.job_id, g.gate LIMIT 1) one) AS gated,
       ARRAY(SELECT j.id FROM unnest($1::integer[]) AS j(id)
             CROSS JOIN LATERAL (
                 SELECT FROM {schema}.run_queue r
                 WHERE r.job_id = j.id AND r.state = 'r' ORDER BY r.job_id, r.priority DESC, r.number LIMIT 1) one
             UNION ALL
             SELECT l.id FROM unnest($2::integer[]) AS l(id)
             CROSS JOIN LATERAL (
                 SELECT FROM {schema}.run_turn t
                 WHERE t.job_id = l.id AND t.due_at <= (SELECT clock_timestamp())
                 ORDER BY t.job_id, t.due_at LIMIT 1) one) AS ready,
       (SELECT count(*) FROM waits)::integer AS waits,
       ARRAY(SELECT DISTINCT p.place FROM waits w CROSS JOIN LATERAL unnest(w.places) AS p(place)) AS awaited,
       (SELECT count(*) FROM (
            SELECT FROM waits w
            WHERE pg_snapshot_xmax(pg_current_snapshot())::text::bigint - pg_snapshot_xmax(w.since)::text::bigint > $5::bigint
               OR (SELECT count(*) FROM (
                       SELECT FROM {schema}.run_step s
                       WHERE s.run_id = w.run_id AND s.name = w.name AND s.state = 'waiting' LIMIT 1) step) = 0
               OR (SELECT count(*) FROM (
                       SELECT FROM {schema}.run_queue q WHERE q.run_id = w.run_id LIMIT 1) run) = 0
               OR (SELECT count(*) FROM (
                       SELECT FROM unnest(w.places) AS p(place)
                       CROSS JOIN LATERAL (
                           SELECT FROM {schema}.event l
                           WHERE l.lane::integer * 1024 + l.partition = p.place AND l.xid >= pg_snapshot_xmin(w.since)
                             AND NOT pg_visible_in_snapshot(l.xid, w.since) AND l.name = w.event_name
                             AND (w.key IS NULL OR l.key = w.key)
                           LIMIT 1) e
                       LIMIT 1) event) > 0
            LIMIT 1) one) > 0 AS met
