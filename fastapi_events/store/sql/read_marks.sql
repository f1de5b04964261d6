-- Which of these handlers have proof that they are done with these events; the mark that a dead delivery leaves is none.
-- $1 handlers, $2 event ids.
SELECT m.handler_id, m.key AS event_id, m.marked_at
FROM unnest($1::integer[]) AS h(id)
CROSS JOIN unnest($2::uuid[]) AS e(id)
JOIN {schema}.processing_mark m
    ON m.handler_id = h.id AND m.key = e.id AND m.replay_id = '00000000-0000-0000-0000-000000000000'
WHERE m.outcome <> 'x'
