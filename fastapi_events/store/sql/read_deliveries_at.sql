-- The deliveries of some events, those of replays apart, with whatever waits behind them when they are dead. $1 positions.
SELECT d.id, d.handler_id, d.position, d.slot, d.state, d.reason, d.note, d.attempts, d.postponed, d.redrives, d.crashes,
       d.error_type, d.error_message, d.fingerprint, d.created_at, d.changed_at, k.due_at,
       k.worker_id IS NOT NULL AND k.due_at > clock_timestamp() AS running
FROM {schema}.delivery d
LEFT JOIN {schema}.parked_key k ON k.slot = d.slot AND k.handler_id = d.handler_id AND k.blocked
WHERE d.position = ANY ($1::bigint[]) AND d.replay_id = '00000000-0000-0000-0000-000000000000'
ORDER BY d.position, d.handler_id
