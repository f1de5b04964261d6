-- The lowest position that a replay has still to read; null if none does. One that has not moved for $1 seconds keeps
-- nothing any more, whether it is paused or nobody has its handler.
SELECT min(s.position) + 1 AS position
FROM {schema}.replay r
JOIN {schema}.replay_share s ON s.replay_id = r.id AND NOT s.finished
WHERE r.state IN ('running', 'paused') AND r.changed_at > clock_timestamp() - make_interval(secs => $1)
