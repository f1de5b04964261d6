-- Whether a mark is the one that an end without effects has left: the event is dead or discarded. $1 handler, $2 key.
SELECT 1
FROM {schema}.processing_mark m
WHERE m.handler_id = $1 AND m.key = $2 AND m.replay_id = '00000000-0000-0000-0000-000000000000' AND m.outcome = 'x'
