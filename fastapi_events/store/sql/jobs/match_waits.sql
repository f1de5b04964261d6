-- Gives events to runs that wait for them: each the first one by position that its wait's snapshot does not show. $1 where to look
-- (null: everywhere), $2 how many transactions a wait's snapshot may be behind before it is moved on. $3 how many waits to look at, in
-- the order of their runs and names, $4 and $5 behind which. One row: how many were looked at, the last of them, to how
-- many runs there was news, and whether there is news to one that somebody has locked.
--
-- Nobody is waited for: one run that is locked would cost all the others their events. It keeps its wait, and is met by a later look.
-- A wait is locked only if there is something to be done about it, and then only if it is still the one that was looked at: events come
-- often, waits are many, and each lock is a write. Rows of transactions newer than a snapshot are a range of the index event_window, as they
-- are to whoever claims windows. Steps and runs are looked for one by one: of an EXISTS the planner may make a table of all
-- steps. What is to be changed is also given as an array, so that an index finds it in whichever order the planner joins.
WITH looked AS MATERIALIZED (
    SELECT w.run_id, w.name, w.event_name, w.key, w.places, w.since,
           (SELECT count(*) FROM (
                SELECT FROM {schema}.run_step s
                WHERE s.run_id = w.run_id AND s.name = w.name AND s.state = 'waiting' LIMIT 1) step) > 0
           AND (SELECT count(*) FROM (
                    SELECT FROM {schema}.run_queue q WHERE q.run_id = w.run_id LIMIT 1) run) > 0 AS waits
    FROM {schema}.run_wait w
    WHERE (w.run_id, w.name) > ($4::uuid, $5::text) AND ($1::integer[] IS NULL OR w.places && $1::integer[])
    ORDER BY w.run_id, w.name
    LIMIT $3::integer),
found AS MATERIALIZED (
    SELECT d.run_id, d.name, e.*
    FROM looked d
    CROSS JOIN LATERAL (
        SELECT t.position, t.id, t.version, t.payload, t.other_versions
        FROM unnest(d.places) AS p(place)
        CROSS JOIN LATERAL (
            SELECT l.position, l.id, l.version, l.payload, l.other_versions
            FROM {schema}.event l
            WHERE l.lane::integer * 1024 + l.partition = p.place AND l.xid >= pg_snapshot_xmin(d.since)
              AND NOT pg_visible_in_snapshot(l.xid, d.since) AND l.name = d.event_name
              AND (d.key IS NULL OR l.key = d.key)
            ORDER BY l.position
            LIMIT 1) t
        ORDER BY t.position
        LIMIT 1) e
    WHERE d.waits),
due AS MATERIALIZED (
    SELECT d.run_id, d.name, d.event_name, d.key, d.since,
           CASE WHEN NOT d.waits THEN 'over'
                WHEN ((d.run_id, d.name) IN (SELECT f.run_id, f.name FROM found f)) IS TRUE THEN 'met'
                WHEN $1::integer[] IS NULL AND pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                     - pg_snapshot_xmax(d.since)::text::bigint > $2 THEN 'behind' END AS what
    FROM looked d),
locked AS MATERIALIZED (
    SELECT w.run_id, w.name
    FROM {schema}.run_wait w
    WHERE w.run_id = ANY (ARRAY(SELECT d.run_id FROM due d WHERE d.what IS NOT NULL))
      AND ((w.run_id, w.name, w.event_name, coalesce(w.key, ''), w.since::text)
           IN (SELECT d.run_id, d.name, d.event_name, coalesce(d.key, ''), d.since::text
               FROM due d WHERE d.what IS NOT NULL)) IS TRUE
    ORDER BY w.run_id, w.name
    FOR UPDATE SKIP LOCKED),
free AS MATERIALIZED (
    SELECT q.run_id
    FROM {schema}.run_queue q
    WHERE q.run_id = ANY (ARRAY(SELECT d.run_id FROM due d WHERE d.what = 'met'))
      AND (q.run_id IN (SELECT l.run_id FROM locked l)) IS TRUE
    ORDER BY q.run_id
    FOR NO KEY UPDATE SKIP LOCKED),
ours AS MATERIALIZED (
    SELECT d.run_id, d.name, d.what FROM due d
    WHERE d.what IS NOT NULL AND ((d.run_id, d.name) IN (SELECT l.run_id, l.name FROM locked l)) IS TRUE
      AND (d.what <> 'met' OR (d.run_id IN (SELECT f.run_id FROM free f)) IS TRUE)),
-- Nobody waits any more: the time was over, or the run has ended.
given_up AS (
    DELETE FROM {schema}.run_wait w
    WHERE w.run_id = ANY (ARRAY(SELECT o.run_id FROM ours o WHERE o.what = 'over'))
      AND ((w.run_id, w.name) IN (SELECT o.run_id, o.name FROM ours o WHERE o.what = 'over')) IS TRUE),
taken AS (
    DELETE FROM {schema}.run_wait w USING found f
    WHERE w.run_id = ANY (ARRAY(SELECT o.run_id FROM ours o WHERE o.what = 'met')) AND w.run_id = f.run_id AND w.name = f.name
      AND ((w.run_id, w.name) IN (SELECT o.run_id, o.name FROM ours o WHERE o.what = 'met')) IS TRUE
    RETURNING f.run_id, f.name, f.id, f.version, f.payload, f.other_versions),
steps AS (
    UPDATE {schema}.run_step s
    SET state = 'done', changed_at = clock_timestamp(), duration = extract(epoch FROM clock_timestamp() - s.changed_at),
        result = jsonb_build_object('id', t.id, 'version', t.version, 'payload', t.payload, 'other_versions', t.other_versions)
    FROM taken t
    WHERE s.run_id = ANY (ARRAY(SELECT o.run_id FROM taken o)) AND s.run_id = t.run_id AND s.name = t.name
      AND s.state = 'waiting'),
moved AS (
    UPDATE {schema}.run_wait w SET since = pg_current_snapshot()
    WHERE w.run_id = ANY (ARRAY(SELECT o.run_id FROM ours o WHERE o.what = 'behind'))
      AND ((w.run_id, w.name) IN (SELECT o.run_id, o.name FROM ours o WHERE o.what = 'behind')) IS TRUE),
news AS (
    UPDATE {schema}.run_queue q
    SET news = q.news + 1, state = CASE WHEN q.state = 'w' THEN 'r'::"char" ELSE q.state END,
        due_at = CASE WHEN q.state = 'w' THEN NULL ELSE q.due_at END
    FROM (SELECT DISTINCT t.run_id FROM taken t ORDER BY t.run_id) t
    WHERE q.run_id = ANY (ARRAY(SELECT o.run_id FROM taken o)) AND q.run_id = t.run_id
    RETURNING q.run_id)
SELECT (SELECT count(*) FROM looked)::integer AS looked, (SELECT count(*) FROM news)::integer AS met,
       (SELECT count(*) FROM due d
        WHERE d.what = 'met' AND ((d.run_id, d.name) IN (SELECT l.run_id, l.name FROM locked l)) IS TRUE
          AND (d.run_id IN (SELECT f.run_id FROM free f)) IS NOT TRUE) > 0 AS held_up,
       l.run_id, l.name
FROM (SELECT 1) one
LEFT JOIN LATERAL (SELECT d.run_id, d.name FROM looked d ORDER BY d.run_id DESC, d.name DESC LIMIT 1) l ON true
