-- Takes the share of a replay that is furthest behind and free, and reads on in it. $1 replay, $2 worker, $3 lease in seconds,
-- $4 events at most, $5 events to look at, $6 how many of the replay's deliveries may wait or be dead: with more, nothing is
-- taken until somebody has seen to them. The index condition on the replay's deliveries is that of their index.
--
-- Returns a header (position null, payload a JSON object) and the events, in order; nothing if there is no share to take.
-- The rows looked at are bounded, wanted or not, so that a filter that finds little costs no more at once than another.
-- A share that is still somebody's counts a crash if its holder has been silent since its lease began: see claim_keys.
WITH going AS MATERIALIZED (
    SELECT r.* FROM {schema}.replay r
    WHERE r.id = $1 AND r.state = 'running' AND r.paced_until <= clock_timestamp()
      AND (SELECT count(*) FROM (SELECT FROM {schema}.delivery d
                                 WHERE d.replay_id = $1 AND d.replay_id <> '00000000-0000-0000-0000-000000000000'
                                   AND d.state IN ('waiting', 'dead')
                                 LIMIT $6) w) < $6
    FOR NO KEY UPDATE OF r),
taken AS (
    UPDATE {schema}.replay_share s
    SET token = s.token + 1, worker_id = $2, lease_until = clock_timestamp() + make_interval(secs => $3),
        crashes = CASE WHEN s.worker_id IS NULL OR s.worker_id = $2 THEN s.crashes
                       ELSE least(s.crashes + (SELECT count(*) FROM {schema}.worker v
                                               WHERE v.id = s.worker_id
                                                 AND v.lease_until < s.lease_until + make_interval(secs => $3::float8 / 2)), 9) END
    WHERE s.ctid = ANY (ARRAY(
        SELECT f.ctid FROM {schema}.replay_share f
        WHERE f.replay_id = (SELECT g.id FROM going g) AND NOT f.finished
          AND (f.lease_until IS NULL OR f.lease_until < clock_timestamp())
        ORDER BY f.position, f.lane, f.partition
        LIMIT 1
        FOR UPDATE SKIP LOCKED))
    RETURNING s.lane, s.partition, s.position, s.seen, s.target, s.reached, s.token, s.crashes),
looked AS MATERIALIZED (
    SELECT e.*
    FROM taken t CROSS JOIN going g
    CROSS JOIN LATERAL (
        SELECT f.* FROM {schema}.event f
        WHERE f.lane = t.lane AND f.partition = t.partition AND f.position > t.position AND f.position <= g.to_position
        ORDER BY f.lane, f.partition, f.position
        LIMIT $5) e),
wanted AS MATERIALIZED (
    SELECT e.*
    FROM looked e CROSS JOIN taken t CROSS JOIN going g
    WHERE (pg_visible_in_snapshot(e.xid, t.seen)
           OR (t.target IS NOT NULL AND e.position <= t.reached AND pg_visible_in_snapshot(e.xid, t.target))
           OR (g.started_after IS NOT NULL AND pg_visible_in_snapshot(e.xid, g.started_after)))
      AND (g.names IS NULL OR e.name = ANY (g.names)) AND (g.pattern IS NULL OR e.name ~ g.pattern)
      AND (g.aggregate IS NULL OR e.aggregate = g.aggregate)
      AND (g.aggregate_id IS NULL OR e.aggregate_id = g.aggregate_id)
      AND (g.key IS NULL OR e.key = g.key) AND (g.tenants IS NULL OR e.tenant_id = ANY (g.tenants))
      AND (g.correlation_id IS NULL OR e.correlation_id = g.correlation_id)
      AND (g.since IS NULL OR e.published_at >= g.since) AND (g.until IS NULL OR e.published_at < g.until)
    ORDER BY e.position
    LIMIT $4),
-- The pace counts from when events are taken; a quarter of a second of it may be made up for, as shares are of every size.
-- The replay's row is locked, so that takers follow each other.
paced AS (
    UPDATE {schema}.replay r
    SET paced_until = greatest(r.paced_until, clock_timestamp() - interval '0.25 seconds')
                      + make_interval(secs => (SELECT count(*) FROM wanted) / r.rate)
    FROM taken
    WHERE r.id = $1 AND r.rate IS NOT NULL)
SELECT t.partition, t.lane, NULL::bigint AS position, NULL::uuid AS id, NULL::text AS name, NULL::smallint AS version,
       NULL::text AS key, NULL::uuid AS correlation_id, NULL::uuid AS causation_id, NULL::text AS tenant_id,
       NULL::text AS actor, NULL::smallint AS depth, NULL::timestamptz AS published_at, NULL::text AS headers,
       NULL::text AS other_versions, false AS parked,
       json_build_object('token', t.token, 'crashes', t.crashes, 'position', t.position, 'looked', (SELECT count(*) FROM looked),
                         'reached', (SELECT max(l.position) FROM looked l))::text AS payload
FROM taken t
UNION ALL
SELECT e.partition, e.lane, e.position, e.id, e.name, e.version, e.key, e.correlation_id, e.causation_id, e.tenant_id,
       e.actor, e.depth, e.published_at, e.headers::text, e.other_versions::text,
       coalesce((SELECT k.blocked FROM {schema}.parked_key k
                 WHERE k.slot = '~' || $1::text || '~' || e.key AND k.handler_id = (SELECT g.handler_id FROM going g)
                 LIMIT 1), false), e.payload::text
FROM wanted e
ORDER BY position NULLS FIRST
