-- The replays that keep the log from shrinking, each with the first event that is kept for it: the first of the segment in
-- which it has still to read something, as retention goes no further than that. $1 seconds: one that has not moved for as
-- long keeps nothing. They are as many as handlers at most; one index probe of each per lane and partition.
SELECT r.id, r.state, h.name AS handler, g.name AS group_name, e.position, e.published_at, clock_timestamp() AS moment
FROM {schema}.replay r
JOIN {schema}.handler h ON h.id = r.handler_id
JOIN {schema}.consumer_group g ON g.id = h.group_id
CROSS JOIN {schema}.installation i
CROSS JOIN LATERAL (
    SELECT min(s.position) + 1 AS position FROM {schema}.replay_share s
    WHERE s.replay_id = r.id AND NOT s.finished) unread
CROSS JOIN LATERAL (
    SELECT coalesce(min(s.lower), 0) AS position FROM {schema}.log_segment s
    WHERE s.upper > unread.position AND NOT s.dropping) kept
CROSS JOIN LATERAL (
    SELECT f.position, f.published_at
    FROM generate_series(0, 3) AS lane(number)
    CROSS JOIN generate_series(0, i.partitions - 1) AS part(number)
    CROSS JOIN LATERAL (
        SELECT o.position, o.published_at FROM {schema}.event o
        WHERE o.lane = lane.number::smallint AND o.partition = part.number::smallint AND o.position >= kept.position
        ORDER BY o.lane, o.partition, o.position
        LIMIT 1) f
    ORDER BY f.position
    LIMIT 1) e
WHERE r.state IN ('running', 'paused') AND r.changed_at > clock_timestamp() - make_interval(secs => $1)
  AND unread.position IS NOT NULL
ORDER BY e.published_at, r.id
