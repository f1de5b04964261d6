-- Finds work of one lane: claims free partitions that have some, opens windows, and reads the next batch.
--
-- $1 group, $2 lane, $3 number of partitions, $4 worker, $5 lease in seconds, $6 batch size,
-- $7..$13 the partitions held already, each in its state after everything read so far: partition, seq, seen, target,
-- position, floor, remaining, $14 the free partitions to look at (null: all), $15 whether to take more than the fair
-- share. Returns one header row per partition (position null, payload a JSON object) and the events.
--
-- READ COMMITTED: the statement's own snapshot is the target of every window it opens.
WITH moment AS MATERIALIZED (
    SELECT pg_current_snapshot() AS snapshot,
           (SELECT coalesce(max(h.revision), 0) FROM {schema}.handler h WHERE h.group_id = $1) AS revision,
           (SELECT count(*) FROM {schema}.worker w
            WHERE w.group_id = $1 AND w.lease_until > clock_timestamp() AND $2::smallint = ANY (w.lanes)) AS workers),
held AS MATERIALIZED (
    SELECT * FROM unnest($7::smallint[], $8::bigint[], $9::text[]::pg_snapshot[], $10::text[]::pg_snapshot[],
                         $11::bigint[], $12::bigint[], $13::bigint[])
        AS u(partition, seq, seen, target, position, floor, remaining)),
-- The newest row of each partition is its state: one index entry is read, whatever lies below. Expired is free, so
-- finding work is also what rescues it.
free AS MATERIALIZED (
    SELECT c.*
    FROM generate_series(0, $3::int - 1) AS p(number)
    CROSS JOIN LATERAL (
        SELECT l.partition, l.seq, l.seen, l.target, l.position, l.floor, l.remaining, l.lease_until, l.worker_id, l.crashes
        FROM {schema}.cursor_log l
        WHERE l.group_id = $1 AND l.lane = $2 AND l.partition = p.number::smallint
        ORDER BY l.group_id DESC, l.lane DESC, l.partition DESC, l.seq DESC
        LIMIT 1) c
    WHERE p.number::smallint <> ALL ($7::smallint[])
      AND ($14::smallint[] IS NULL OR p.number::smallint = ANY ($14::smallint[]))
      AND (c.lease_until IS NULL OR c.lease_until < clock_timestamp())),
candidate AS MATERIALIZED (
    SELECT partition, seq, seen, target, position, floor, remaining, true AS kept, NULL::timestamptz AS lost_at,
           NULL::uuid AS lost_by, 0::smallint AS crashes
    FROM held
    UNION ALL
    SELECT partition, seq, seen, target, position, floor, remaining, false, lease_until, worker_id, crashes FROM free),
-- The only range scan by transaction id, once per window: rows of transactions that began after the last window's
-- snapshot, and rows of transactions that were in progress in it and have ended since (one probe each). No row can
-- be in both. Sealed segments of the log are never looked at again. "floor" is just below the lowest new position,
-- so that reading by position need not wade through old rows. The order of the rows does not matter: it is asked for
-- because one index gives it, and on a segment without pages, where every index costs the same, the planner takes the
-- one that spares a sort. The plan is kept while the segment fills.
win AS MATERIALIZED (
    SELECT partition, seq, seen, target, position, floor, remaining, kept, lost_at, lost_by, crashes
    FROM candidate WHERE target IS NOT NULL
    UNION ALL
    SELECT c.partition, c.seq, c.seen, m.snapshot, 0, coalesce(w.lowest_new - 1, 9223372036854775807), w.n, c.kept,
           c.lost_at, c.lost_by, c.crashes
    FROM candidate c
    CROSS JOIN moment m
    CROSS JOIN LATERAL (
        SELECT coalesce(max(s.upper), 0) AS low
        FROM {schema}.log_segment s WHERE s.sealed_before <= pg_snapshot_xmin(c.seen)) sealed
    CROSS JOIN LATERAL (
        SELECT min(t.position) FILTER (WHERE t.is_new) AS lowest_new, count(*) AS n
        FROM ((SELECT e.position, true AS is_new
               FROM {schema}.event e
               WHERE e.lane::integer * 1024 + e.partition = $2::integer * 1024 + c.partition
                 AND e.xid >= pg_snapshot_xmax(c.seen) AND e.xid < pg_snapshot_xmax(m.snapshot)
                 AND e.position >= sealed.low
                 AND pg_visible_in_snapshot(e.xid, m.snapshot)
               ORDER BY e.lane::integer * 1024 + e.partition, e.xid, e.position)
              UNION ALL
              SELECT e.position, false
              FROM pg_snapshot_xip(c.seen) AS x(xid)
              CROSS JOIN LATERAL (
                  SELECT l.position FROM {schema}.event l
                  WHERE l.lane::integer * 1024 + l.partition = $2::integer * 1024 + c.partition AND l.xid = x.xid
                  ORDER BY l.lane::integer * 1024 + l.partition, l.xid, l.position) e
              WHERE e.position >= sealed.low AND pg_visible_in_snapshot(x.xid, m.snapshot)) t) w
    WHERE c.target IS NULL),
-- A worker takes free partitions up to its fair share, and now and then those too that nobody took; the batch is split
-- by what each partition has left, so a hot one gets nearly all of it and each gets something: hence no more partitions
-- than there are events in the batch.
work AS MATERIALIZED (
    SELECT r.*, least(r.remaining, ceil($6::float8 * r.remaining / sum(r.remaining) OVER ()))::bigint AS quota
    FROM (SELECT win.*, row_number() OVER (PARTITION BY win.kept ORDER BY random()) AS number
          FROM win WHERE win.remaining > 0) r
    WHERE r.kept OR r.number <= least(CASE WHEN $15::boolean THEN $3::numeric ELSE (
                                           SELECT ceil($3::numeric / greatest(m.workers, 1)) FROM moment m) END, $6::float8)
                                - (SELECT count(*) FROM held)),
-- Inserting seq + 1 is the compare-and-swap: a competitor or an old snapshot ends in a conflict, hence no lease and no
-- events. In one order, so that claims cannot deadlock. Partitions without work are not written. Whoever let a lease run
-- out has vanished if it has given no sign of life since either: one that lives renews itself before half a lease is over.
claimed AS (
    INSERT INTO {schema}.cursor_log (group_id, lane, partition, seq, seen, target, position, floor, remaining,
                                     lease_until, worker_id, crashes)
    SELECT $1, $2, partition, seq + 1, seen, target, position, floor, remaining,
           clock_timestamp() + make_interval(secs => $5), $4,
           CASE WHEN lost_at IS NULL OR lost_by = $4 THEN crashes
                ELSE least(crashes + (SELECT count(*) FROM {schema}.worker v
                                      WHERE v.id = lost_by
                                        AND v.lease_until < lost_at + make_interval(secs => $5::float8 / 2)), 9) END
    FROM work WHERE NOT kept ORDER BY partition
    ON CONFLICT DO NOTHING
    RETURNING partition, seq, crashes),
own AS MATERIALIZED (
    SELECT w.partition, w.seq, w.seen, w.target, w.position, w.floor, w.remaining, w.quota, w.kept, false AS rescued,
           w.crashes
    FROM work w WHERE w.kept
    UNION ALL
    SELECT w.partition, c.seq, w.seen, w.target, w.position, w.floor, w.remaining, w.quota, w.kept,
           w.lost_at IS NOT NULL, c.crashes
    FROM work w JOIN claimed c ON c.partition = w.partition)
SELECT o.partition, NULL::bigint AS position, NULL::xid8 AS xid, NULL::uuid AS id, NULL::text AS name,
       NULL::smallint AS version, NULL::text AS key, NULL::uuid AS correlation_id, NULL::uuid AS causation_id,
       NULL::text AS tenant_id, NULL::text AS actor, NULL::smallint AS depth, NULL::timestamptz AS published_at,
       NULL::text AS headers, NULL::text AS other_versions,
       json_build_object('seq', o.seq, 'seen', o.seen::text, 'target', o.target::text, 'position', o.position,
                         'floor', o.floor, 'remaining', o.remaining, 'quota', o.quota, 'rescued', o.rescued,
                         'crashes', o.crashes, 'revision', m.revision, 'workers', m.workers)::text AS payload,
       NULL::integer[] AS parked
FROM own o CROSS JOIN moment m
UNION ALL
-- Rows at or below the floor can only be late ones, found by transaction id; above it late and new rows are found by
-- position together. Filters by snapshot function are not indexable: the planner has one way to read each arm.
SELECT o.partition, e.position, e.xid, e.id, e.name, e.version, e.key, e.correlation_id, e.causation_id,
       e.tenant_id, e.actor, e.depth, e.published_at, e.headers::text, e.other_versions::text, e.payload::text,
       (SELECT array_agg(k.handler_id) FILTER (WHERE k.blocked)
        FROM {schema}.parked_key k WHERE k.slot = e.key)
FROM own o
CROSS JOIN LATERAL (
    SELECT u.*
    FROM ((SELECT f.* FROM {schema}.event f
           WHERE f.lane = $2 AND f.partition = o.partition AND f.position > greatest(o.position, o.floor)
             AND pg_visible_in_snapshot(f.xid, o.target) AND NOT pg_visible_in_snapshot(f.xid, o.seen)
           ORDER BY f.lane, f.partition, f.position
           LIMIT o.quota)
          UNION ALL
          SELECT late.*
          FROM pg_snapshot_xip(o.seen) AS x(xid)
          CROSS JOIN LATERAL (
              SELECT l.* FROM {schema}.event l
              WHERE l.lane::integer * 1024 + l.partition = $2::integer * 1024 + o.partition AND l.xid = x.xid
                AND l.position > o.position AND l.position <= o.floor
              ORDER BY l.lane::integer * 1024 + l.partition, l.xid, l.position
              LIMIT o.quota) late
          WHERE pg_visible_in_snapshot(x.xid, o.target)) u
    ORDER BY u.position
    LIMIT o.quota) e
