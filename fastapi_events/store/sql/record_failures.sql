-- Notes failures of a handler, of which so many within the window and without a success between them open its breaker.
-- While it is open, the next probe is a recovery time after the newest failure. A change raises the revision, by which
-- other processes notice. $1 handler, $2 failures, $3 whether one of its successes came before them, $4 threshold,
-- $5 window and $6 recovery in seconds. Returns whether it is open, whether by these, and seconds until the next probe.
-- The group's row is locked before a revision is drawn: revisions become visible in their order, and the highest is the
-- newest.
WITH grouped AS MATERIALIZED (
    SELECT g.id FROM {schema}.consumer_group g
    WHERE g.id = (SELECT h.group_id FROM {schema}.handler h WHERE h.id = $1)
    FOR NO KEY UPDATE),
moment AS MATERIALIZED (SELECT clock_timestamp() AS at FROM grouped),
changed AS (
    INSERT INTO {schema}.breaker AS b (handler_id, failures, opened_at, probe_at, changed_at)
    SELECT $1, array_fill(m.at, ARRAY[least($2::integer, $4::integer)]),
           CASE WHEN $2::integer >= $4::integer THEN m.at END,
           CASE WHEN $2::integer >= $4::integer THEN m.at + make_interval(secs => $6) END, m.at
    FROM moment m
    ON CONFLICT (handler_id) DO UPDATE
    SET (failures, opened_at, probe_at, changed_at) = (
        SELECT k.kept, coalesce(b.opened_at, CASE WHEN cardinality(k.kept) >= $4::integer THEN excluded.changed_at END),
               CASE WHEN b.opened_at IS NOT NULL OR cardinality(k.kept) >= $4::integer
                    THEN excluded.changed_at + make_interval(secs => $6) END,
               excluded.changed_at
        FROM (SELECT ARRAY(
            SELECT f.at
            FROM unnest(CASE WHEN $3 THEN '{}'::timestamptz[] ELSE b.failures END || excluded.failures) AS f(at)
            WHERE f.at > excluded.changed_at - make_interval(secs => $5)
            ORDER BY f.at DESC
            LIMIT $4::integer) AS kept) k)
    RETURNING opened_at IS NOT NULL AS is_open, coalesce(opened_at = changed_at, false) AS opened,
              extract(epoch FROM probe_at - clock_timestamp())::float8 AS probe_in),
told AS (
    UPDATE {schema}.handler SET revision = nextval('{schema}.handler_revision')
    WHERE id = $1 AND EXISTS (SELECT FROM changed c WHERE c.opened))
SELECT is_open, opened, probe_in FROM changed
