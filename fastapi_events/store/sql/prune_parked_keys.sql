-- Keys whose queue is empty, a minute after; in lock order, leaving alone what somebody works on.
DELETE FROM {schema}.parked_key
WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {schema}.parked_key
    WHERE NOT blocked AND due_at < clock_timestamp() - interval '60 seconds'
    LIMIT 10000 FOR UPDATE SKIP LOCKED))
