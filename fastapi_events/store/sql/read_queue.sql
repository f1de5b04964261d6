-- The head of each claimed key's queue, in position order, with the version of the key at this moment, and whether a
-- dead delivery holds it: what comes behind that one waits, but for what an operator has redriven. A statement of its
-- own after the claim: its snapshot is newer than the lock. $1 handlers, $2 slots, $3 tokens, $4 rows per key.
--
-- One row is asked for by a range of one position and in order, so that the primary key alone spares a sort: also on
-- tables without pages, where every index costs the same.
SELECT k.handler_id, k.slot, k.version, held.position IS NOT NULL AS held, d.id AS delivery_id, d.position, d.lane,
       d.partition, d.attempts, d.attempts_before, d.postponed, d.reason, d.event_id AS id, d.event_name AS name, d.tenant_id, d.published_at,
       d.replay_id, d.created_at,
       coalesce((d.event ->> 'version')::smallint, e.version) AS version_of_event,
       coalesce(d.event ->> 'key', e.key) AS key,
       coalesce((d.event ->> 'correlation_id')::uuid, e.correlation_id) AS correlation_id,
       coalesce((d.event ->> 'causation_id')::uuid, e.causation_id) AS causation_id,
       coalesce(d.event ->> 'actor', e.actor) AS actor,
       coalesce((d.event ->> 'depth')::smallint, e.depth) AS depth,
       coalesce(nullif((d.event -> 'headers')::text, 'null'), e.headers::text) AS headers,
       coalesce(nullif((d.event -> 'other_versions')::text, 'null'), e.other_versions::text) AS other_versions,
       coalesce((d.event -> 'payload')::text, e.payload::text) AS payload
FROM unnest($1::integer[], $2::text[], $3::bigint[]) AS c(handler_id, slot, token)
CROSS JOIN LATERAL (
    SELECT p.* FROM {schema}.parked_key p
    WHERE p.slot = c.slot AND p.handler_id = c.handler_id AND p.token = c.token
    LIMIT 1) k
LEFT JOIN LATERAL (
    SELECT x.position FROM {schema}.delivery x
    WHERE x.handler_id = c.handler_id AND x.slot = c.slot AND x.state = 'dead' AND x.holds
    ORDER BY x.handler_id, x.slot, x.position
    LIMIT 1) held ON true
LEFT JOIN LATERAL (
    SELECT q.* FROM {schema}.delivery q
    WHERE q.handler_id = c.handler_id AND q.slot = c.slot AND q.state = 'waiting'
      AND (held.position IS NULL OR q.position < held.position OR q.redrives > 0)
    ORDER BY q.handler_id, q.slot, q.position
    LIMIT $4) d ON true
LEFT JOIN LATERAL (
    SELECT f.* FROM {schema}.event f
    WHERE f.lane = d.lane AND f.partition = d.partition AND f.position >= d.position AND f.position <= d.position
    ORDER BY f.lane, f.partition, f.position
    LIMIT 1) e ON true
ORDER BY k.handler_id, k.slot, d.position
