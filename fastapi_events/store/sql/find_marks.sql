-- Which of these (handler, key) pairs have been handled already; the mark that a dead delivery leaves is no proof. $1 handlers,
-- $2 keys, $3 the replay (the zero UUID: none).
SELECT m.handler_id, m.key
FROM unnest($1::integer[], $2::uuid[]) AS w(handler_id, key)
JOIN {schema}.processing_mark m ON m.handler_id = w.handler_id AND m.key = w.key
    AND m.replay_id = $3 AND m.outcome <> 'x'
