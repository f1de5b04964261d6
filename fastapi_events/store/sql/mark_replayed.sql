-- As mark_processed, for an event that a replay delivers: proof of live deliveries, or of other replays, is none here.
-- $1 handler, $2 key, $3 position, $4 replay.
INSERT INTO {schema}.processing_mark AS m (handler_id, key, position, replay_id) VALUES ($1, $2, $3, $4)
ON CONFLICT (handler_id, key, replay_id) DO UPDATE
SET position = excluded.position, outcome = 'd', marked_at = excluded.marked_at
WHERE m.outcome = 'x' AND excluded.position <> ALL (m.dead_positions)
RETURNING 1
