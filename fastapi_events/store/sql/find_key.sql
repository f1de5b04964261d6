-- Whether a parked key is held by this token, in order that one that never got it need not be waited for.
-- $1 handler, $2 slot, $3 token. Asked for as a row in order, so that the primary key alone gives it.
SELECT k.token FROM {schema}.parked_key k
WHERE k.slot = $2 AND k.handler_id = $1 AND k.token = $3
ORDER BY k.slot, k.handler_id
LIMIT 1
