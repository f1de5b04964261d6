-- Gives parked keys back unhandled, due at once. $1 handlers, $2 slots, $3 tokens.
-- What is to be found is also given as an array, so that an index finds it in whichever order the planner joins: on an
-- empty table it cannot tell one order from the other.
UPDATE {schema}.parked_key k
SET due_at = clock_timestamp(), token = k.token + 1, worker_id = NULL
FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS h(handler_id, slot, token)
WHERE k.slot = ANY ($2) AND k.slot = h.slot AND k.handler_id = h.handler_id AND k.token = h.token
