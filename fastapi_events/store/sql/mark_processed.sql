-- Takes the right to apply a handler's effects, in the transaction that applies them: a second copy waits here, then
-- gets no row. $1 handler, $2 key, $3 position.
INSERT INTO {schema}.processing_mark (handler_id, key, position) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING 1
