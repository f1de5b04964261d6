-- Reads on in partitions of the log for one process that keeps its places in memory: opens windows, and reads the next
-- batch of them. Nothing is claimed and nothing written. See claim_windows.sql, which does the same for a group.
--
-- $1 places (lane × 1024 + partition), and where the process is in each: $2 seen, $3 target, $4 position, $5 floor,
-- $6 remaining, $7 the log's last position when it was looked at; $8 batch size, $9 how many positions it may be behind,
-- $10 the names that are wanted, and as regular expressions $11 the wildcards, $12 those that take audit events.
-- Returns rows of four kinds, in this order: 0 the moment, 1 the windows with something in them (both with a JSON
-- object as payload), 2 per window the last position read and, as version, how many, 3 the wanted events.
WITH moment AS MATERIALIZED (
    SELECT pg_current_snapshot() AS snapshot,
           coalesce(pg_sequence_last_value('{schema}.event_position'::regclass), 0) AS last_position),
looked AS MATERIALIZED (
    SELECT u.*, m.last_position - $9::bigint AS limit_behind, m.last_position - u.finish > $9::bigint AS is_behind
    FROM unnest($1::integer[], $2::text[]::pg_snapshot[], $3::text[]::pg_snapshot[], $4::bigint[], $5::bigint[],
                $6::bigint[], $7::bigint[])
        AS u(place, seen, target, position, floor, remaining, finish)
    CROSS JOIN moment m),
-- Every event that has become visible since a snapshot is in the window after it, whatever its position. Only a process
-- that has been away for so long that counting a window would take too much skips the oldest of it, if there is any.
win AS MATERIALIZED (
    SELECT place, seen, target, position, floor, remaining, 0::bigint AS skipped FROM looked WHERE target IS NOT NULL
    UNION ALL
    SELECT c.place, c.seen, m.snapshot, s.skipped, coalesce(w.lowest_new - 1, 9223372036854775807), w.n, s.skipped
    FROM looked c
    CROSS JOIN moment m
    CROSS JOIN LATERAL (
        SELECT coalesce(max(g.upper), 0) AS low
        FROM {schema}.log_segment g WHERE g.sealed_before <= pg_snapshot_xmin(c.seen)) sealed
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.is_behind AND EXISTS (
                   SELECT FROM {schema}.event e
                   WHERE e.lane::integer * 1024 + e.partition = c.place
                     AND e.xid >= pg_snapshot_xmax(c.seen) AND e.xid < pg_snapshot_xmax(m.snapshot)
                     AND e.position >= sealed.low AND e.position <= c.limit_behind
                     AND pg_visible_in_snapshot(e.xid, m.snapshot)
                   ORDER BY e.lane::integer * 1024 + e.partition, e.xid, e.position
                   LIMIT 1) THEN c.limit_behind ELSE 0 END AS skipped) s
    CROSS JOIN LATERAL (
        SELECT min(t.position) FILTER (WHERE t.is_new) AS lowest_new, count(*) AS n
        FROM ((SELECT e.position, true AS is_new
               FROM {schema}.event e
               WHERE e.lane::integer * 1024 + e.partition = c.place
                 AND e.xid >= pg_snapshot_xmax(c.seen) AND e.xid < pg_snapshot_xmax(m.snapshot)
                 AND e.position >= sealed.low AND e.position > s.skipped
                 AND pg_visible_in_snapshot(e.xid, m.snapshot)
               ORDER BY e.lane::integer * 1024 + e.partition, e.xid, e.position)
              UNION ALL
              SELECT e.position, false
              FROM pg_snapshot_xip(c.seen) AS x(xid)
              CROSS JOIN LATERAL (
                  SELECT l.position FROM {schema}.event l
                  WHERE l.lane::integer * 1024 + l.partition = c.place AND l.xid = x.xid
                  ORDER BY l.lane::integer * 1024 + l.partition, l.xid, l.position) e
              WHERE e.position >= sealed.low AND e.position > s.skipped
                AND pg_visible_in_snapshot(x.xid, m.snapshot)) t) w
    WHERE c.target IS NULL),
-- The batch is split by what each window has left, and each gets something.
share AS MATERIALIZED (
    SELECT w.*, (w.place / 1024)::smallint AS lane, (w.place % 1024)::smallint AS partition,
           least(w.remaining, ceil($8::float8 * w.remaining / sum(w.remaining) OVER ()))::bigint AS quota
    FROM win w WHERE w.remaining > 0),
-- In position order, wanted or not, so that a batch is bounded by what is read and not by what is found.
taken AS MATERIALIZED (
    SELECT o.place, e.*
    FROM share o
    CROSS JOIN LATERAL (
        SELECT u.*
        FROM ((SELECT f.* FROM {schema}.event f
               WHERE f.lane = o.lane AND f.partition = o.partition AND f.position > greatest(o.position, o.floor)
                 AND pg_visible_in_snapshot(f.xid, o.target) AND NOT pg_visible_in_snapshot(f.xid, o.seen)
               ORDER BY f.lane, f.partition, f.position
               LIMIT o.quota)
              UNION ALL
              SELECT late.*
              FROM pg_snapshot_xip(o.seen) AS x(xid)
              CROSS JOIN LATERAL (
                  SELECT l.* FROM {schema}.event l
                  WHERE l.lane::integer * 1024 + l.partition = o.place AND l.xid = x.xid
                    AND l.position > o.position AND l.position <= o.floor
                  ORDER BY l.lane::integer * 1024 + l.partition, l.xid, l.position
                  LIMIT o.quota) late
              WHERE pg_visible_in_snapshot(x.xid, o.target)) u
        ORDER BY u.position
        LIMIT o.quota) e)
SELECT 0 AS kind, NULL::integer AS place, NULL::smallint AS lane, NULL::smallint AS partition, NULL::bigint AS position,
       NULL::uuid AS id, NULL::text AS name, NULL::bigint AS version, NULL::text AS key, NULL::uuid AS correlation_id,
       NULL::uuid AS causation_id, NULL::text AS tenant_id, NULL::text AS actor, NULL::smallint AS depth,
       NULL::timestamptz AS published_at, NULL::text AS headers,
       json_build_object('snapshot', m.snapshot::text, 'last_position', m.last_position)::text AS payload
FROM moment m
UNION ALL
SELECT 1, w.place, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
       json_build_object('target', w.target::text, 'position', w.position, 'floor', w.floor, 'remaining', w.remaining,
                         'skipped', w.skipped, 'quota', coalesce(s.quota, 0))::text
FROM win w LEFT JOIN share s ON s.place = w.place
WHERE w.remaining > 0 OR w.skipped > 0
UNION ALL
SELECT 2, t.place, NULL, NULL, max(t.position), NULL, NULL, count(*), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM taken t GROUP BY t.place
UNION ALL
SELECT 3, t.place, t.lane, t.partition, t.position, t.id, t.name, t.version, t.key, t.correlation_id, t.causation_id,
       t.tenant_id, t.actor, t.depth, t.published_at, t.headers::text, t.payload::text
FROM taken t
WHERE t.name = ANY ($10::text[]) OR t.name ~ ANY (CASE WHEN t.lane = 3 THEN $12::text[] ELSE $11::text[] END)
