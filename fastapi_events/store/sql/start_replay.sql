-- Begins a replay, and tells the processes of its group by the handlers' revision. $1 id, $2 handler, $3 from and $4 to which
-- position, $5 snapshot that the handler started after, $6 names, $7 pattern, $8 aggregate, $9 its id, $10 ordering key,
-- $11 tenants, $12 correlation, $13 since, $14 until, $15 rate, $16 total, $17 who, $18 why, $19..$23 the shares: lane,
-- partition, seen, target and position of the group's cursor there. The group's row is locked before a revision is drawn:
-- revisions become visible in their order. Nothing begins in a group
-- that was removed at this moment.
WITH grouped AS MATERIALIZED (
    SELECT g.id FROM {schema}.consumer_group g
    WHERE g.id = (SELECT h.group_id FROM {schema}.handler h WHERE h.id = $2) AND g.removed_at IS NULL
    FOR NO KEY UPDATE),
begun AS (
    INSERT INTO {schema}.replay (id, handler_id, from_position, to_position, started_after, names, pattern, aggregate,
                                 aggregate_id, key, tenants, correlation_id, since, until, rate, total, created_by, reason)
    SELECT $1, $2, $3, $4, $5::text::pg_snapshot, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18 FROM grouped
    RETURNING id),
shares AS (
    INSERT INTO {schema}.replay_share (replay_id, lane, partition, position, seen, target, reached)
    SELECT b.id, s.lane, s.partition, $3::bigint - 1, s.seen::pg_snapshot, s.target::pg_snapshot, s.reached
    FROM begun b
    CROSS JOIN unnest($19::smallint[], $20::smallint[], $21::text[], $22::text[], $23::bigint[])
        AS s(lane, partition, seen, target, reached))
UPDATE {schema}.handler h SET revision = nextval('{schema}.handler_revision')
WHERE h.id = $2 AND EXISTS (SELECT FROM begun)
