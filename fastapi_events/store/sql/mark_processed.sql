-- Takes the right to apply a handler's effects, in the transaction that applies them: a second copy waits here, then
-- gets no row. The mark of an event that is dead gives way to another event of the same key, never to that event itself.
-- $1 handler, $2 key, $3 position.
INSERT INTO {schema}.processing_mark AS m (handler_id, key, position) VALUES ($1, $2, $3)
ON CONFLICT (handler_id, key, replay_id) DO UPDATE
SET position = excluded.position, outcome = 'd', marked_at = excluded.marked_at
WHERE m.outcome = 'x' AND excluded.position <> ALL (m.dead_positions)
RETURNING 1
