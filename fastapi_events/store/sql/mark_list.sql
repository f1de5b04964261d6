-- Takes the right to apply a batch handler's effects for a list of events, in the transaction that applies them: as
-- mark_processed does for one. In the order of the keys, so that two copies of overlapping lists wait for each other in one
-- direction only. $1 handler, $2 keys (each once), $3 positions, $4 the replay that delivers them (the zero UUID: none).
-- Returns the keys that were taken; the other events have been handled.
INSERT INTO {schema}.processing_mark AS m (handler_id, key, position, replay_id)
SELECT $1, u.key, u.position, $4 FROM unnest($2::uuid[], $3::bigint[]) AS u(key, position)
ORDER BY u.key
ON CONFLICT (handler_id, key, replay_id) DO UPDATE
SET position = excluded.position, outcome = 'd', marked_at = excluded.marked_at
WHERE m.outcome = 'x' AND excluded.position <> ALL (m.dead_positions)
RETURNING key
