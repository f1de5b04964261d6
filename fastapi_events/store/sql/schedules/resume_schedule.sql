-- Lets a paused schedule, which the caller has locked, go on. $1 its id, $2 the next tick.
UPDATE {schema}.schedule SET paused_at = NULL, next_at = $2 WHERE id = $1
