-- From now on the heads of these keys are run alone: processes in a row have vanished with them in hand. The keys are given
-- back, due at once. $1 handlers, $2 slots, $3 tokens, $4 how many deliveries of each may have been in hand. Returns those.
WITH own AS (
    UPDATE {schema}.parked_key k
    SET suspect = true, crashes = 0, due_at = clock_timestamp(), token = k.token + 1, worker_id = NULL
    FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS h(handler_id, slot, token)
    WHERE k.slot = ANY ($2) AND k.slot = h.slot AND k.handler_id = h.handler_id AND k.token = h.token
    RETURNING k.handler_id, k.slot),
doubtful AS MATERIALIZED (
    SELECT q.handler_id, q.position, q.replay_id
    FROM own o
    CROSS JOIN LATERAL (
        SELECT d.handler_id, d.position, d.replay_id FROM {schema}.delivery d
        WHERE d.handler_id = o.handler_id AND d.slot = o.slot AND d.state = 'waiting'
        ORDER BY d.handler_id, d.slot, d.position
        LIMIT $4) q)
UPDATE {schema}.delivery d
SET reason = 'crash_suspect'
FROM doubtful q
WHERE d.handler_id = q.handler_id AND d.position = ANY (ARRAY(SELECT position FROM doubtful)) AND d.position = q.position
  AND d.replay_id = q.replay_id
RETURNING d.handler_id, d.event_name, d.event_id, d.position
