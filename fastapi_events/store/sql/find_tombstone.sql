-- Whether a mark is the one that an end without effects has left: the event is dead or discarded. $1 handler, $2 key,
-- $3 the replay (the zero UUID: none).
SELECT 1
FROM {schema}.processing_mark m
WHERE m.handler_id = $1 AND m.key = $2 AND m.replay_id = $3 AND m.outcome = 'x'
