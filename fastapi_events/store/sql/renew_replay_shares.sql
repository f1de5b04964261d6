-- Extends the leases of shares while their handlers take their time; one that was lost is left alone. $1 replays, $2 lanes,
-- $3 partitions, $4 tokens, $5 lease in seconds.
UPDATE {schema}.replay_share
SET lease_until = clock_timestamp() + make_interval(secs => $5)
WHERE ctid = ANY (ARRAY(
    SELECT held.ctid
    FROM unnest($1::uuid[], $2::smallint[], $3::smallint[], $4::bigint[]) AS h(replay_id, lane, partition, token)
    CROSS JOIN LATERAL (
        SELECT s.ctid FROM {schema}.replay_share s
        WHERE s.replay_id = h.replay_id AND s.lane = h.lane AND s.partition = h.partition AND s.token = h.token
        LIMIT 1
        FOR UPDATE) held))
