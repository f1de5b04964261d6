-- Reads on in partitions of the log for one process that keeps its places in memory. Nothing is claimed or written.
--
-- $1 places (lane × 1024 + partition), and where the process is in each: $2 seen, $3 target (null: this statement's own
-- snapshot), $4 position, $5 floor, $6 what had been drawn; $7 events at most of each place, $8 how many positions it may
-- be behind, $9 the names that are wanted, and as regular expressions $10 the wildcards, $11 those for audit events too.
-- Returns rows of three kinds, in this order: 0 the moment (a JSON object as payload), 1 per place with events the last
-- position read and, as version, how many were, 2 the wanted events.
WITH moment AS MATERIALIZED (
    SELECT pg_current_snapshot() AS snapshot,
           coalesce(pg_sequence_last_value('{schema}.event_position'::regclass), 0) AS last_position),
-- A position is drawn when its transaction has its id, so what began after "seen" was taken is above what had been drawn
-- before: that is the floor. Nobody needs to look for new rows by transaction id, nor count them.
looked AS MATERIALIZED (
    SELECT u.place, (u.place / 1024)::smallint AS lane, (u.place % 1024)::smallint AS partition, u.seen,
           coalesce(u.target, m.snapshot) AS target, u.position,
           CASE WHEN u.target IS NULL AND m.last_position - u.drawn > $8::bigint THEN m.last_position - $8::bigint
                ELSE u.floor END AS floor
    FROM unnest($1::integer[], $2::text[]::pg_snapshot[], $3::text[]::pg_snapshot[], $4::bigint[], $5::bigint[],
                $6::bigint[])
        AS u(place, seen, target, position, floor, drawn)
    CROSS JOIN moment m),
-- Who was in progress in any of the snapshots has appended nothing to a segment that had been sealed before.
sealed AS MATERIALIZED (
    SELECT coalesce(max(g.upper), 0) AS low
    FROM {schema}.log_segment g
    WHERE g.sealed_before <= (SELECT pg_snapshot_xmin(l.seen) FROM looked l ORDER BY pg_snapshot_xmin(l.seen) LIMIT 1)),
-- In position order, wanted or not, so that a look is bounded by what is read and not by what is found. Rows at or below
-- the floor can only be late ones, found by transaction id; above it late and new ones are found by position together.
taken AS MATERIALIZED (
    SELECT o.place, e.*
    FROM looked o
    CROSS JOIN sealed
    CROSS JOIN LATERAL (
        SELECT u.*
        FROM ((SELECT f.* FROM {schema}.event f
               WHERE f.lane = o.lane AND f.partition = o.partition AND f.position > greatest(o.position, o.floor)
                 AND pg_visible_in_snapshot(f.xid, o.target) AND NOT pg_visible_in_snapshot(f.xid, o.seen)
               ORDER BY f.lane, f.partition, f.position
               LIMIT $7::bigint)
              UNION ALL
              SELECT late.*
              FROM pg_snapshot_xip(o.seen) AS x(xid)
              CROSS JOIN LATERAL (
                  SELECT l.* FROM {schema}.event l
                  WHERE l.lane::integer * 1024 + l.partition = o.place AND l.xid = x.xid
                    AND l.position >= sealed.low AND l.position > o.position AND l.position <= o.floor
                  ORDER BY l.lane::integer * 1024 + l.partition, l.xid, l.position
                  LIMIT $7::bigint) late
              WHERE pg_visible_in_snapshot(x.xid, o.target)) u
        ORDER BY u.position
        LIMIT $7::bigint) e)
SELECT 0 AS kind, NULL::integer AS place, NULL::smallint AS lane, NULL::smallint AS partition, NULL::bigint AS position,
       NULL::uuid AS id, NULL::text AS name, NULL::bigint AS version, NULL::text AS key, NULL::uuid AS correlation_id,
       NULL::uuid AS causation_id, NULL::text AS tenant_id, NULL::text AS actor, NULL::smallint AS depth,
       NULL::timestamptz AS published_at, NULL::text AS headers, NULL::text AS other_versions,
       json_build_object('snapshot', m.snapshot::text, 'last_position', m.last_position)::text AS payload
FROM moment m
UNION ALL
SELECT 1, t.place, NULL, NULL, max(t.position), NULL, NULL, count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL
FROM taken t GROUP BY t.place
UNION ALL
SELECT 2, t.place, t.lane, t.partition, t.position, t.id, t.name, t.version, t.key, t.correlation_id, t.causation_id,
       t.tenant_id, t.actor, t.depth, t.published_at, t.headers::text, t.other_versions::text, t.payload::text
FROM taken t
WHERE t.name = ANY ($9::text[]) OR t.name ~ ANY (CASE WHEN t.lane = 3 THEN $11::text[] ELSE $10::text[] END)
