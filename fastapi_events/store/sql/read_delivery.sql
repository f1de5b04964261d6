-- One delivery, with the event as it was copied when the delivery died, or as the log has it. $1 id, $2 how many that
-- wait behind it are counted, $3 group (null: any), $4 tenants (null: all).
SELECT d.id, d.handler_id, d.event_id, d.event_name, d.position, d.lane, d.partition, d.tenant_id, d.slot, d.state, d.reason,
       d.note, d.attempts, d.postponed, d.redrives, d.crashes, d.error_type, d.error_message, d.fingerprint,
       d.published_at, d.created_at, d.changed_at,
       nullif(d.replay_id, '00000000-0000-0000-0000-000000000000') AS replay_id, h.name AS handler, h.ordered, h.on_dead, g.name AS group_name,
       k.due_at, k.worker_id IS NOT NULL AND k.due_at > clock_timestamp() AS running,
       coalesce((d.event ->> 'version')::smallint, e.version) AS version,
       coalesce(d.event ->> 'key', e.key) AS key,
       coalesce(nullif(d.event -> 'headers', 'null'), e.headers)::text AS headers,
       coalesce(d.event -> 'payload', e.payload)::text AS payload,
       coalesce(nullif(d.event -> 'other_versions', 'null'), e.other_versions)::text AS other_versions,
       e.position IS NOT NULL AS in_log,
       CASE WHEN h.ordered AND h.on_dead = 'park' AND d.state = 'dead' THEN
           (SELECT count(*) FROM (SELECT FROM {schema}.delivery q
                                  WHERE q.handler_id = d.handler_id AND q.slot = d.slot AND q.state = 'waiting'
                                  LIMIT $2) w) ELSE 0 END AS behind
FROM {schema}.delivery d
JOIN {schema}.handler h ON h.id = d.handler_id
JOIN {schema}.consumer_group g ON g.id = h.group_id
LEFT JOIN {schema}.parked_key k ON k.slot = d.slot AND k.handler_id = d.handler_id AND k.blocked
LEFT JOIN LATERAL (
    SELECT f.* FROM {schema}.event f
    WHERE f.lane = d.lane AND f.partition = d.partition AND f.position = d.position LIMIT 1) e ON true
WHERE d.id = $1 AND ($3::text IS NULL OR g.name = $3) AND ($4::text[] IS NULL OR d.tenant_id = ANY ($4))
