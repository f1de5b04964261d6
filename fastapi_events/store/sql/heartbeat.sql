-- Extends the worker's life and the leases of the parked keys it is working on; a key lost to another is left alone.
-- $1 worker, $2 lease in seconds, $3 how it is woken, $4 stale settles since the last beat,
-- $5 handlers, $6 slots and $7 tokens of the keys held, $8 calls of broadcast handlers that have failed since it started
-- and $9 positions that they may have skipped. Returns one row if the worker is registered,
-- with the newest revisions of its group's handlers, jobs and pools.
WITH alive AS (
    UPDATE {schema}.worker
    SET lease_until = clock_timestamp() + make_interval(secs => $2), wake_up = $3, stale_settles = stale_settles + $4,
        broadcast_failures = $8, broadcast_skipped = $9
    WHERE id = $1
    RETURNING group_id),
-- Locked in one order, that of the statement that parks keys.
held AS MATERIALIZED (
    SELECT k.ctid AS place
    FROM {schema}.parked_key k
    JOIN unnest($5::integer[], $6::text[], $7::bigint[]) AS h(handler_id, slot, token)
      ON k.slot = h.slot AND k.handler_id = h.handler_id AND k.token = h.token
    WHERE k.slot = ANY ($6)
    ORDER BY k.slot, k.handler_id
    FOR NO KEY UPDATE OF k),
keys AS (
    UPDATE {schema}.parked_key k
    SET due_at = clock_timestamp() + make_interval(secs => $2)
    WHERE k.ctid = ANY (ARRAY(SELECT place FROM held)))
SELECT (SELECT coalesce(max(h.revision), 0) FROM {schema}.handler h WHERE h.group_id = a.group_id) AS revision,
       (SELECT coalesce(max(j.revision), 0) FROM {schema}.job j WHERE j.group_id = a.group_id) AS jobs_revision,
       (SELECT coalesce(max(p.revision), 0) FROM {schema}.pool p WHERE p.group_id = a.group_id) AS pools_revision
FROM alive a
