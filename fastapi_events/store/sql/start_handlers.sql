-- Fixes from where new handlers receive: after what is visible now. A statement of its own, after the rows became
-- visible; whoever finds one unset waits here for the other that sets it. $1 group, $2 lanes that handlers read.
--
-- A handler that is to begin with history is given a replay in the same moment, of exactly what its snapshot shows: live
-- delivery is of what it does not show. So there is neither gap nor overlap, and no way to have one without the other.
-- The group's row is locked before a revision is drawn: revisions become visible in their order. One that was retired
-- before it has started does so when it comes back; none starts in a group that was removed, whose replays nobody could end.
WITH grouped AS MATERIALIZED (
    SELECT g.id FROM {schema}.consumer_group g
    WHERE g.id = $1 AND g.removed_at IS NULL
      AND EXISTS (SELECT FROM {schema}.handler h
                  WHERE h.group_id = $1 AND h.started_after IS NULL AND h.retired_at IS NULL)
    FOR NO KEY UPDATE),
begun AS (
    UPDATE {schema}.handler h
    SET started_after = pg_current_snapshot(), revision = nextval('{schema}.handler_revision')
    FROM grouped g
    WHERE h.group_id = g.id AND h.started_after IS NULL AND h.retired_at IS NULL
    RETURNING h.id, h.name, h.selects, h.started_after, h.start_position, h.start_time, h.start_pattern),
-- Every position that the snapshot shows was drawn before the sequence is looked at here.
wished AS MATERIALIZED (
    SELECT b.*, greatest(b.start_position, (SELECT min(s.lower) FROM {schema}.log_segment s WHERE NOT s.dropping)) AS low,
           coalesce(pg_sequence_last_value('{schema}.event_position'::regclass), 0) AS high,
           CASE WHEN b.start_time IS NOT NULL THEN to_char(b.start_time AT TIME ZONE 'UTC', '"start="YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
                WHEN b.start_position > 0 THEN 'start=' || b.start_position
                ELSE 'start=''beginning''' END AS said
    FROM begun b
    WHERE b.start_position IS NOT NULL),
-- Only partitions that have events are shares: what is not visible here is not in the snapshot either. The order of the
-- rows does not matter: it is asked for because one index gives it.
shares AS MATERIALIZED (
    SELECT w.id AS handler_id, l.lane, p.number::smallint AS partition
    FROM wished w
    CROSS JOIN {schema}.installation i
    CROSS JOIN unnest($2::smallint[]) AS l(lane)
    CROSS JOIN LATERAL generate_series(0, i.partitions - 1) AS p(number)
    CROSS JOIN LATERAL (
        SELECT e.position FROM {schema}.event e
        WHERE e.lane = l.lane AND e.partition = p.number::smallint AND e.position >= w.low AND e.position <= w.high
        ORDER BY e.lane, e.partition, e.position
        LIMIT 1) first),
replays AS (
    INSERT INTO {schema}.replay (id, handler_id, starts, from_position, to_position, started_after, names, pattern, since,
                                 created_by, reason)
    SELECT gen_random_uuid(), w.id, true, w.low, w.high, w.started_after,
           CASE WHEN w.start_pattern IS NULL THEN ARRAY[w.selects] END, w.start_pattern, w.start_time, 'start',
           'the handler is new: ' || w.said
    FROM wished w
    WHERE w.id IN (SELECT s.handler_id FROM shares s)
    RETURNING id, handler_id, from_position, started_after, reason),
recorded AS (
    INSERT INTO {schema}.operator_action (id, action, actor, target, details)
    SELECT gen_random_uuid(), 'start_replay', 'start', w.name, json_build_object('reason', r.reason, 'replay', r.id)
    FROM replays r JOIN wished w ON w.id = r.handler_id)
INSERT INTO {schema}.replay_share (replay_id, lane, partition, position, seen)
SELECT r.id, s.lane, s.partition, r.from_position - 1, r.started_after
FROM replays r JOIN shares s ON s.handler_id = r.handler_id
